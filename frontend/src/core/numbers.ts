/** Numbers in text with as many digits as their range needs, the same letters as Python writes. */

// JavaScript rounds the exact half away from 0, Python to the even digit. Both know the exact value of a double.
function even(rounded: string, longer: string, exact: string, value: number): string {
  const [digits = '', power = ''] = longer.split('e')
  if (!digits.endsWith('5') || Number(longer) !== value) return rounded
  const more = exact.split('e')[0]!.slice(digits.length)
  const before = digits.slice(0, -1).replace(/\.$/, '')
  const isHalf = /^0*$/.test(more) && '02468'.includes(before.at(-1)!)
  return isHalf ? before + (power && `e${power}`) : rounded
}

/** As Python's `f"{value:.{digits}e}"`, but for the zeros of the exponent. */
function exponential(value: number, digits: number): string {
  return even(value.toExponential(digits), value.toExponential(digits + 1), value.toExponential(digits + 40), value)
}

/** As Python's `f"{value:.{digits}f}"`. */
function fixed(value: number, digits: number): string {
  if (Math.abs(value) >= 1e21) return BigInt(value).toString()
  return even(value.toFixed(digits), value.toFixed(digits + 1), value.toFixed(digits + 40), value)
}

function trimmed(digits: string): string {
  return digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits
}

function exponentOf(size: number): number {
  return Number(size.toExponential().split('e')[1])
}

function special(value: number): string {
  return value === 0 ? '0' : Number.isNaN(value) ? 'NaN' : value > 0 ? '+inf' : '−inf'
}

/** A number in at most so many significant digits: `12.3`, `−0.0123`, `1e−9`, `1.23e5`. */
export function number(value: number, digits = 3): string {
  if (value === 0 || !Number.isFinite(value)) return special(value)
  const [mantissa = '', power = ''] = exponential(value, digits - 1).split('e')
  const exponent = Number(power)
  const plain = exponent >= -4 && exponent < digits
  const text = plain ? trimmed(fixed(value, digits - 1 - exponent)) : `${trimmed(mantissa)}e${exponent}`
  return text.replaceAll('-', '−')
}

/** A number that may be off by `error`, in the digits that hold, at most four. */
export function held(value: number, error: number): string {
  const digits = Math.floor(Math.log10(Math.abs(value))) + Math.floor(-Math.log10(error)) + 1
  return digits < 1 ? '0' : number(value, Math.min(4, digits))
}

/** The significant digits that tell numbers of a range apart to a hundredth of it; at least three. */
export function digitsFor(low: number, high: number): number {
  const span = high - low
  if (!(span > 0 && span < Infinity)) return 3
  const largest = Math.max(Math.abs(low), Math.abs(high))
  return Math.min(17, Math.max(3, Math.ceil(exponentOf(largest) + 3 - Math.log10(span))))
}

/** A number as it stands beside a bar: with the digits that this range needs, in plain decimals or with an exponent. */
export function reading(value: number, low: number, high: number): string {
  if (value === 0 || !Number.isFinite(value)) return special(value)
  const digits = digitsFor(low, high)
  const [least, largest] = [Math.min(Math.abs(low), Math.abs(high)), Math.max(Math.abs(low), Math.abs(high))]
  const size = Math.abs(value)
  const plain = largest >= 1e-3 && largest < 1e5 && !(least > 0 && least < 1e-6) && size >= 1e-6
  const text = plain ? fixed(value, Math.max(0, digits - 1 - exponentOf(size))) : exponential(value, digits - 1)
  const [mantissa = '', power] = text.split('e')
  return (trimmed(mantissa) + (power ? `e${Number(power)}` : '')).replaceAll('-', '−')
}

/** A number of a table: as `repr` of a Python float. */
export function repr(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  if (Object.is(value, -0)) return '-0.0'
  const [mantissa = '', power = '0'] = value.toExponential().split('e')
  const exponent = Number(power)
  if (value !== 0 && (exponent < -4 || exponent >= 16)) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  return Number.isInteger(value) ? `${value}.0` : String(value)
}
