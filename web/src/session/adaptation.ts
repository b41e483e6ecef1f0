// What a stroke, or a larger box, made of a mask: to be seen, kept or taken back.

import type { Axes } from '../scan/axes.ts'
import { Patch } from '../scan/patch.ts'
import type { Stroke } from '../server/types.ts'

export type Showing = 'after' | 'before' | 'changes'
export const SHOWINGS: Showing[] = ['after', 'before', 'changes']

/** Values of a patch of changes. */
export const ADDED = 1
export const REMOVED = 2

export interface Adaptation {
  object: string
  before: Patch
  /** `ADDED`, `REMOVED` and 0; null where the box is another, so that there is nothing to compare. */
  changes: Patch | null
  added: number
  removed: number
  /** Whether so much came or went that the stroke was hardly meant so. */
  alarm: 'shrunk' | 'grown' | null
  strokes: Stroke[]
  showing: Showing
}

/** What became of a mask; `counts`: its voxels before and after. */
export function adaptation(
  object: string,
  axes: Axes,
  before: Patch,
  after: Patch,
  counts: [number, number],
  strokes: Stroke[],
): Adaptation {
  const same = boxed(before) === boxed(after)
  const values = same ? differences(before.data, after.data) : new Uint8Array()
  const changes = same ? new Patch(axes, after.fileBox, values) : null
  const count = (value: number) => values.reduce((sum, one) => sum + Number(one === value), 0)
  return {
    object,
    before,
    changes,
    added: count(ADDED),
    removed: count(REMOVED),
    alarm: alarming(...counts),
    strokes,
    showing: 'after',
  }
}

/** More than half gone, or at least twice as large. */
export function alarming(before: number, after: number): Adaptation['alarm'] {
  if (before === 0) return null
  return 2 * after < before ? 'shrunk' : after >= 2 * before ? 'grown' : null
}

function differences(before: ArrayLike<number>, after: ArrayLike<number>): Uint8Array {
  const changes = new Uint8Array(after.length)
  for (let k = 0; k < changes.length; k++) {
    if (before[k] !== after[k]) changes[k] = after[k] ? ADDED : REMOVED
  }
  return changes
}

function boxed({ box }: Patch): string {
  return `${box.start} ${box.stop}`
}
