// Lengths and angles that are measured in a slice.

import type { Vec3 } from './axes.ts'
import type { Plane } from './volume.ts'

/** Two places are a ruler, three an angle at the second; canonical voxels with fractions, all in one slice. */
export interface Measurement {
  plane: Plane
  index: number
  points: Vec3[]
}

/** What a measurement says; `spacing` as the axes. Pixels, and voxels of a scan, where nobody knows millimetres. */
export function told({ points }: Measurement, spacing: Vec3, calibrated: boolean, planar: boolean): string {
  const [a, b, c] = points
  if (!a || !b) return ''
  if (c) return `${angle(a, b, c, spacing).toFixed(1)}°`
  const length = distance(a, b, spacing)
  if (!calibrated) return `${length.toFixed(1)} ${planar ? 'px' : 'voxels'}`
  return length < 1 ? `${(1000 * length).toFixed(0)} µm` : `${length.toFixed(1)} mm`
}

export function distance(a: Vec3, b: Vec3, spacing: Vec3): number {
  return Math.hypot(...between(a, b, spacing))
}

/** Degrees between the arms from `b` to `a` and to `c`. */
export function angle(a: Vec3, b: Vec3, c: Vec3, spacing: Vec3): number {
  const [u, v] = [between(b, a, spacing), between(b, c, spacing)]
  const lengths = Math.hypot(...u) * Math.hypot(...v)
  const dot = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
  return lengths ? (180 / Math.PI) * Math.acos(Math.max(-1, Math.min(1, dot / lengths))) : 0
}

function between(a: Vec3, b: Vec3, spacing: Vec3): Vec3 {
  return [0, 1, 2].map((k) => ((b[k] ?? 0) - (a[k] ?? 0)) * (spacing[k] ?? 1)) as Vec3
}
