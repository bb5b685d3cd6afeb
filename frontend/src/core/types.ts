/** The words of the protocol: what the session says (docs/protocol.md) and what the hosts and the interface share. */

export const PROTOCOL = 1

export type Norm = 'linear' | 'log' | 'symlog'
export type Post = 'none' | 'relu'
/** One range for each channel, one for the layer, or these limits. */
export type ScaleRule = 'channel' | 'layer' | [number, number]
export type LayerShape = 'map' | 'volume' | 'sequence' | 'vector' | 'scalar' | 'attention' | 'none'

// The manifest

export interface Caps {
  /** The session can be asked for more than what is here. */
  request: boolean
  /** Images can be added. */
  upload: boolean
  /** `probe` gives exact float32. */
  exact: boolean
}

export interface ModelInfo {
  name: string
  framework: string
  /** One line on input and preprocessing. */
  text: string
  /** How many classes it tells apart; 0 where its output means none. */
  classes: number
  gradients: boolean
  /** Python after which `scope` is what is shown. */
  opening: string
  /** What writes a report, without its images; absent where no command does. */
  command?: string
  /** It is a store that `opening` opens, as `store`. */
  store?: boolean
}

export interface Prediction {
  index: number
  label: string
  probability: number
  /** What the number is where it is no probability. */
  note?: string
}

export interface InputInfo {
  id: string
  name: string
  width: number
  height: number
  /** What `capture` finds it by; absent for arrays and uploads. */
  source?: string
  predictions: Prediction[] | null
}

export interface LayerInfo {
  id: string
  path: string
  /** The usual name of its kind; `own` is the framework's where it is another. */
  kind: string
  own?: string | null
  shape: number[]
  axes: string
  kind_of: LayerShape
  mark: string
  channels: number
  spatial: number[]
  index: number
  calls: number
  parameters: number | null
  note: string
  bytes: number
}

export interface CombinationInfo {
  name: string
  label: string
  needs: 'none' | 'target'
  linear: boolean
  layers: 'spatial' | 'all' | 'attention'
  /** What may stand behind a colon in `name`, such as `nmf:6` or `similarity:3,4`. */
  argument?: '' | 'count' | 'unit' | 'token'
  /** Python for it where `fm` is from a store, with its argument in place of the braces. */
  call?: string
}

export interface ColorsInfo {
  name: string
  kind: 'sequential' | 'diverging' | 'other'
  /** base64 of 256 × 3 bytes, the colour of each code on light paper. */
  table: string
}

export interface Manifest {
  protocol: number
  version: string
  title: string
  model: ModelInfo
  inputs: InputInfo[]
  layers: LayerInfo[]
  combinations: CombinationInfo[]
  /** Those that there are none of here, by reason. */
  absent: { reason: string; labels: string[] }[]
  colours: ColorsInfo[]
  /** By name of the colours: base64 of 256 × 3 bytes on dark paper. */
  dark: Record<string, string>
  choices: { scales: string[]; norms: Norm[]; sorts: string[]; figures: string[] }
  first: { input: string; layer: string }
  view: Partial<ViewState> | null
  notes: string[]
  caps: Caps
}

// Payloads

export interface Placement {
  photo: [number, number]
  input: [number, number]
  /** top, left, height, width of the model's input on the photo, in photo pixels. */
  box: [number, number, number, number]
}

export interface MapMeta {
  protocol: number
  input: string
  layer: string
  kind: Exclude<LayerShape, 'none'>
  /** A value is what is stored times two to this power. */
  exponent: number
  axes: string[]
  figures: string[]
  shape: number[]
  dtype: string
  region: { measured: boolean; text: string; unknown: string }
  placement: Placement | null
  names: string[] | null
  /** Rows and columns of the patches of a sequence. */
  grid: [number, number] | null
  /** What the steps before the grid are, such as `cls`. */
  prefix: string[]
  /** How the photo became the model's input. */
  fed: string
  notes: string[]
  bytes: number
}

export interface PhotoMeta {
  media: string
  width: number
  height: number
  photo: [number, number]
}

export interface CombineMeta {
  name: string
  label: string
  channels: number
  post: Post
  linear: boolean
  rgb: boolean
  role?: '' | 'rgb' | 'factors' | 'labels'
  /** The parts of `nmf` and `clusters`. */
  groups?: { number: number; text: string; color: [number, number, number] }[]
  target: string | null
  notes: string[]
  rule: string
}

// Requests

export type Op =
  | 'manifest'
  | 'map'
  | 'photo'
  | 'combine'
  | 'probe'
  | 'classes'
  | 'add'
  | 'predictions'
  | 'picture'
  | 'progress'
  | 'cancel'

export interface Reply<Result = unknown> {
  result: Result
  buffers: Uint8Array[]
}

export interface ErrorInfo {
  kind: string
  message: string
}

/** What the session answered in place of a result. */
export class RequestError extends Error {
  readonly kind: string
  constructor({ kind, message }: ErrorInfo) {
    super(message)
    this.name = 'RequestError'
    this.kind = kind
  }
}

export interface Progress {
  part: number
  whole: number
  text: string
}

export interface Probe {
  value: number | null
  text: string
}

export interface RequestOptions {
  buffers?: Uint8Array[]
  signal?: AbortSignal
  progress?: (progress: Progress) => void
}

/** The view state where it lives outside: in the widget's traits, or in the page's address. */
export interface SharedView {
  get(): Partial<ViewState>
  set(partial: Partial<ViewState>): void
  on(callback: (partial: Partial<ViewState>) => void): () => void
}

/** What the interface stands on: a notebook's widget, the local page, or a report file. */
export interface Host {
  readonly kind: 'widget' | 'page' | 'report'
  readonly caps: Caps
  manifest(): Promise<Manifest>
  request<Result = unknown>(op: Op, params?: Record<string, unknown>, options?: RequestOptions): Promise<Reply<Result>>
  readonly view?: SharedView
}

// The view

export interface Zoom {
  scale: number
  x: number
  y: number
}

/** All that decides what is seen, as one JSON. */
export interface ViewState {
  input: string
  layer: string
  beside: { input?: string; layer?: string } | null
  scale: ScaleRule
  /** Two percentiles, 0 to 100. */
  clip: [number, number] | null
  norm: Norm
  /** A name of the manifest's colours; empty for those that fit the values. */
  colors: string
  sort: string
  /** A condition such as `mean > 0.1 and not dead`. */
  find: string
  /** True number of a channel. */
  active: number
  /** The pinned unit: row and column. */
  unit: [number, number] | null
  /** True numbers of channels. */
  selected: number[]
  /** By true number of a channel. */
  weights: Record<number, number>
  /** `mean`, `weights`, or the name of a combination. */
  mode: string
  /** The class of gradient combinations. */
  target: number | null
  post: Post
  overlay: boolean
  opacity: number
  /** Slice of a volume. */
  slice: number
  /** Step of an attention map whose row is shown. */
  query: number
  zoom: Zoom | null
  /** Whether the active channel is shown large, alone. */
  single: boolean
  table: boolean
  theme: 'auto' | 'light' | 'dark'
}
