// From a voxel's value to what is seen of it: a window, straight or curved, bright or inverted.

import type { Numbers, Window } from './volume.ts'

const TABLED = 1 << 16 // values that a table is made for
const OPAQUE = 0xff000000

/** Grey level, 0 to 255, of a value; `table`: of a window that is listed. */
export function greyOf(
  window: Window,
  inverted: boolean,
  table: readonly number[] | null = null,
): (value: number) => number {
  const { low, high, sigmoid, listed } = window
  const scale = 255 / (high - low)
  const centre = (low + high) / 2
  const straight = (value: number) => {
    const grey = (value - low) * scale
    return grey <= 0 ? 0 : grey >= 255 ? 255 : grey | 0
  }
  const curved = (value: number) => (255 / (1 + Math.exp((-4 * (value - centre)) / (high - low)))) | 0
  const last = (table?.length ?? 0) - 1
  const looked = (value: number) => {
    const place = Math.round(((value - low) / (high - low)) * last)
    return table?.[Math.max(0, Math.min(last, place))] ?? 0
  }
  const grey = listed && table ? looked : sigmoid ? curved : straight
  return inverted ? (value) => 255 - grey(value) : grey
}

/** A pixel, as a canvas holds it, of every voxel that is asked for: small integers are looked up. `like`: their type. */
export function pixelOf(
  like: Numbers,
  window: Window,
  inverted: boolean,
  listed: readonly number[] | null = null,
): (data: Numbers, place: number) => number {
  const grey = greyOf(window, inverted, listed)
  const pixel = (value: number) => {
    const g = grey(value)
    return (OPAQUE | (g << 16) | (g << 8) | g) >>> 0
  }
  if (like.BYTES_PER_ELEMENT > 2) return (data, place) => pixel(data[place] ?? 0)
  const lowest = like instanceof Int16Array ? -TABLED / 2 : 0
  const table = Uint32Array.from({ length: TABLED }, (_, k) => pixel(k + lowest))
  return (data, place) => table[(data[place] ?? 0) - lowest] ?? OPAQUE
}

/** The same of a colour image, whose voxels are red, green and blue. */
export function colourPixelOf(window: Window, inverted: boolean): (data: Numbers, place: number) => number {
  const grey = greyOf(window, inverted)
  const shade = Uint8Array.from({ length: 256 }, (_, value) => grey(value))
  return (data, place) => {
    const of = (channel: number) => shade[data[3 * place + channel] ?? 0] ?? 0
    return (OPAQUE | (of(2) << 16) | (of(1) << 8) | of(0)) >>> 0
  }
}
