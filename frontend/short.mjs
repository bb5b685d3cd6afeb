// Functions that bundles call by a name of one letter: `Math_max` stands for `Math.max`, as build.mjs defines.
export const {
  max: Math_max,
  min: Math_min,
  floor: Math_floor,
  abs: Math_abs,
  round: Math_round,
  ceil: Math_ceil,
  log10: Math_log10,
} = Math
export const { from: Array_from } = Array
export const { entries: Object_entries, fromEntries: Object_fromEntries } = Object
export const { isFinite: Number_isFinite, isNaN: Number_isNaN } = Number
export const { stringify: JSON_stringify } = JSON
