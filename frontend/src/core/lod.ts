/** Level of detail: planes averaged, in values and not in colours, to about the size at which they are drawn. */

/** The mean of the finite values of each cell of `factor` × `factor`; of a cell without any, what is there: ±inf or NaN. */
export function pooled(
  plane: Float32Array,
  rows: number,
  columns: number,
  factor: number,
  out: Float32Array = new Float32Array(Math.ceil(rows / factor) * Math.ceil(columns / factor)),
): Float32Array {
  if (factor === 1) {
    out.set(plane)
    return out
  }
  const across = Math.ceil(columns / factor)
  const whole = columns - (columns % factor)
  const sums = new Float64Array(across)
  for (let top = 0, at = 0; top < rows; top += factor, at += across) {
    const bottom = Math.min(top + factor, rows)
    sums.fill(0)
    for (let row = top; row < bottom; row++) {
      let index = row * columns
      let column = 0
      for (; column < whole; column += factor) {
        let sum = 0
        for (let step = 0; step < factor; step++) sum += plane[index++]!
        sums[column / factor]! += sum
      }
      for (; column < columns; column++) sums[across - 1]! += plane[index++]!
    }
    const height = bottom - top
    for (let cell = 0; cell < across; cell++) {
      const width = Math.min(factor, columns - cell * factor)
      const sum = sums[cell]!
      // A sum that isn't finite tells that a value isn't, so that no other cell pays for the question.
      out[at + cell] =
        sum - sum === 0 ? sum / (height * width) : ofFinite(plane, columns, top, cell * factor, height, width)
    }
  }
  return out
}

function ofFinite(
  plane: Float32Array,
  columns: number,
  top: number,
  left: number,
  height: number,
  width: number,
): number {
  let sum = 0
  let count = 0
  let other = plane[top * columns + left]!
  for (let row = top; row < top + height; row++) {
    for (let column = left; column < left + width; column++) {
      const value = plane[row * columns + column]!
      if (value - value === 0) {
        sum += value
        count++
      } else if (value !== other) other = NaN
    }
  }
  return count ? sum / count : other
}
