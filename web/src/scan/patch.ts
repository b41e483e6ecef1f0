// An array that fills a box of the scan: a mask, scribbles or a map; and slices of it.

import { ALL, type Axes, type Box, type Vec3 } from './axes.ts'
import { across, type Plane } from './volume.ts'

type Values = Uint8Array | Uint16Array | Float32Array

/** Where a slice of a patch lies in the slice's picture, and its values there, row by row. */
export interface Cut {
  left: number
  top: number
  width: number
  height: number
  values: Values
}

/** `data`: as the server sends it, in the box's file order (z runs fastest). */
export class Patch {
  /** The box in canonical voxels. */
  readonly box: Box
  readonly strides: { offset: number; step: Vec3 }
  private readonly cuts = new Map<string, Cut>()

  constructor(
    private readonly axes: Axes,
    /** The same box in the file's voxels. */
    readonly fileBox: Box,
    readonly data: Values,
  ) {
    this.box = axes.boxToCanonical(fileBox)
    this.strides = axes.strides(fileBox)
  }

  /** The value at a canonical voxel; 0 outside the box. */
  at(voxel: Vec3): number {
    let place = this.strides.offset
    for (const k of ALL) {
      if (voxel[k] < this.box.start[k] || voxel[k] >= this.box.stop[k]) return 0
      place += (voxel[k] - this.box.start[k]) * this.strides.step[k]
    }
    return this.data[place] ?? 0
  }

  /** What a slice shows of it; null where the slice passes it by. */
  cut(plane: Plane, index: number): Cut | null {
    const { start, stop } = this.box
    if (index < start[plane] || index >= stop[plane]) return null
    const key = `${plane} ${index}`
    const known = this.cuts.get(key)
    if (known) return known
    if (this.cuts.size > 32) this.cuts.clear()
    const made = this.made(plane, index)
    this.cuts.set(key, made)
    return made
  }

  private made(plane: Plane, index: number): Cut {
    const [u, v] = across(plane)
    const { start, stop } = this.box
    const { offset, step } = this.strides
    const width = stop[u] - start[u]
    const height = stop[v] - start[v]
    const values = new (this.data.constructor as new (length: number) => Values)(width * height)
    const origin = offset + (index - start[plane]) * step[plane]
    let to = 0
    for (let j = height - 1; j >= 0; j--) {
      for (let i = width - 1; i >= 0; i--) values[to++] = this.data[origin + i * step[u] + j * step[v]] ?? 0
    }
    return { left: this.axes.shape[u] - stop[u], top: this.axes.shape[v] - stop[v], width, height, values }
  }
}

/** The border of what `inside` says yes to, along the edges of pixels, in the picture's pixels. */
export function outline(cut: Cut, inside: (value: number) => boolean): Path2D {
  const path = new Path2D()
  const { left, top, width, height, values } = cut
  const is = (i: number, j: number) => i >= 0 && j >= 0 && i < width && j < height && inside(values[i + j * width] ?? 0)
  for (let j = 0; j <= height; j++) {
    for (let i = 0; i <= width; i++) {
      const here = is(i, j)
      if (here !== is(i - 1, j)) {
        path.moveTo(left + i, top + j)
        path.lineTo(left + i, top + j + 1)
      }
      if (here !== is(i, j - 1)) {
        path.moveTo(left + i, top + j)
        path.lineTo(left + i + 1, top + j)
      }
    }
  }
  return path
}
