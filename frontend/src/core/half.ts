/** float16 by look-up: there are only 65,536 of them, so whatever a function makes of one is worked out once. */

const cached = new Map<number, Float32Array>()

/** The value of each bit pattern, times two to the power `exponent`. */
export function halves(exponent = 0): Float32Array {
  let values = cached.get(exponent)
  if (!values) {
    values = new Float32Array(65536)
    for (let bits = 0; bits < 65536; bits++) values[bits] = value(bits) * 2 ** exponent
    cached.set(exponent, values)
  }
  return values
}

function value(bits: number): number {
  const power = (bits >> 10) & 31
  const fraction = bits & 1023
  const size =
    power === 0 ? fraction * 2 ** -24 : power < 31 ? (1024 + fraction) * 2 ** (power - 25) : fraction ? NaN : Infinity
  return bits & 32768 ? -size : size
}

/** The values of bit patterns, into `out`. */
export function decodeHalves(bits: Uint16Array, out: Float32Array, exponent = 0): void {
  const table = halves(exponent)
  for (let index = 0; index < bits.length; index++) out[index] = table[bits[index]!]!
}
