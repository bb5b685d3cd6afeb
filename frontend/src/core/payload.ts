/** The one container of the protocol, in the layout of safetensors: 8 bytes of length, a JSON header, raw tensors. */

export type Dtype = 'F16' | 'F32' | 'F64' | 'I32' | 'U8'
/** float16 comes as its bit patterns. */
export type Numbers = Uint16Array | Float32Array | Float64Array | Int32Array | Uint8Array

export interface Tensor {
  dtype: Dtype
  shape: number[]
  data: Numbers
}

export interface Payload<Meta = Record<string, unknown>> {
  meta: Meta
  tensors: Record<string, Tensor>
}

interface Entry {
  dtype: Dtype
  shape: number[]
  data_offsets: [number, number]
}

const ARRAYS = { F16: Uint16Array, F32: Float32Array, F64: Float64Array, I32: Int32Array, U8: Uint8Array }

/** The tensors are views of the buffer where they are aligned in it, else copies. Throws `RangeError` for what is damaged. */
export function parse<Meta = Record<string, unknown>>(source: ArrayBuffer | ArrayBufferView): Payload<Meta> {
  const bytes = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source)
  if (bytes.length < 8) throw new RangeError(`a payload of ${bytes.length} bytes has no header`)
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true))
  const start = 8 + length
  if (start > bytes.length) throw new RangeError(`a header of ${length} bytes in a payload of ${bytes.length}`)
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))) as Record<string, unknown>
  const about = header['__metadata__'] as Record<string, string> | undefined
  const tensors: Record<string, Tensor> = Object.create(null)
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors[name] = tensorOf(name, entry as Entry, bytes, start)
  }
  return { meta: JSON.parse(about?.['layerscope'] ?? '{}') as Meta, tensors }
}

function tensorOf(name: string, { dtype, shape, data_offsets: [from, to] }: Entry, bytes: Uint8Array, start: number) {
  const Kind = ARRAYS[dtype]
  if (!Kind) throw new RangeError(`the tensor ${name} is of the unknown type ${dtype}`)
  const count = shape.reduce((product, size) => product * size, 1)
  if (to - from !== count * Kind.BYTES_PER_ELEMENT || from < 0 || start + to > bytes.length) {
    throw new RangeError(`the tensor ${name} lies outside its payload, or has not the size of its shape`)
  }
  const at = bytes.byteOffset + start + from
  const data =
    at % Kind.BYTES_PER_ELEMENT
      ? new Kind(bytes.slice(start + from, start + to).buffer, 0, count)
      : new Kind(bytes.buffer as ArrayBuffer, at, count)
  return { dtype, shape, data }
}

/** The numbers of a tensor as float64; `undefined` where it is absent. */
export function wide({ tensors }: Payload<unknown>, name: string): Float64Array | undefined {
  const data = tensors[name]?.data
  return data instanceof Float64Array ? data : data && new Float64Array(data)
}
