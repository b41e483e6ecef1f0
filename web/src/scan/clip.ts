// A stroke may leave the box; what counts is what lies inside.

import { ALL, type Box, type Vec3 } from './axes.ts'

const RIM = 1e-3 // voxels that what is cut off stays away from the border, whose side nobody could tell

/** Whether the voxel that is nearest to a place lies in a box. */
export function holds({ start, stop }: Box, place: Vec3): boolean {
  return ALL.every((k) => Math.round(place[k]) >= start[k] && Math.round(place[k]) < stop[k])
}

/** The pieces of a polyline whose voxels lie in a box, in their order; a single place is one, too. */
export function inside(box: Box, points: readonly Vec3[]): Vec3[][] {
  const pieces: Vec3[][] = []
  let piece: Vec3[] = []
  const end = () => {
    if (piece.length) pieces.push(piece)
    piece = []
  }
  const [first] = points
  if (first && holds(box, first)) piece = [first]
  for (let k = 1; k < points.length; k++) {
    const [from, to] = [points[k - 1] as Vec3, points[k] as Vec3]
    const span = crossing(box, from, to)
    if (!span) {
      end()
      continue
    }
    if (!piece.length) piece.push(between(from, to, span[0]))
    piece.push(between(from, to, span[1]))
    if (span[1] < 1) end()
  }
  end()
  return pieces
}

/** The part of a line that lies in a box, as shares of its length; null for none. */
function crossing(box: Box, from: Vec3, to: Vec3): [number, number] | null {
  let [enters, leaves] = [0, 1]
  for (const k of ALL) {
    const low = box.start[k] - 0.5 + RIM
    const high = box.stop[k] - 0.5 - RIM
    const way = to[k] - from[k]
    if (way === 0) {
      if (from[k] < low || from[k] > high) return null
      continue
    }
    const [a, b] = [(low - from[k]) / way, (high - from[k]) / way]
    enters = Math.max(enters, Math.min(a, b))
    leaves = Math.min(leaves, Math.max(a, b))
  }
  return enters <= leaves ? [enters, leaves] : null
}

function between(from: Vec3, to: Vec3, share: number): Vec3 {
  if (share === 0) return from
  if (share === 1) return to
  return ALL.map((k) => from[k] + (to[k] - from[k]) * share) as Vec3
}
