// How large a brush is; radii in units of the finest voxel.

import { ALL, type Box, type Vec3 } from '../scan/axes.ts'

const RADII = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32]
const SHARE = 20 // of the box's shorter side that a brush is wide at first

/** A brush as wide as a twentieth of the box's shorter side; `spacing` as the box's axes. */
export function radiusFor({ start, stop }: Box, spacing: Vec3): number {
  const sides = ALL.filter((k) => stop[k] - start[k] > 1).map((k) => (stop[k] - start[k]) * spacing[k])
  const radius = Math.min(...sides) / SHARE / 2 / Math.min(...spacing)
  return nearest(Number.isFinite(radius) ? radius : 1)
}

/** The next larger or smaller radius there is. */
export function resized(radius: number, step: 1 | -1): number {
  const place = RADII.findLastIndex((one) => one <= radius)
  return RADII[Math.max(0, Math.min(RADII.length - 1, place + step))] ?? 1
}

function nearest(radius: number): number {
  return RADII.reduce((best, one) => (Math.abs(one - radius) < Math.abs(best - radius) ? one : best))
}
