// A scan on its way: the slices that are looked at come first, then the rest of it, what is nearest to them first.

import type { Box, Vec3 } from './axes.ts'
import { partOf, type Volume } from './volume.ts'

type Fetch = (box: Box) => Promise<ArrayBuffer>

const AT_ONCE = 2

/** Bring the slices through a voxel. */
export async function bringSlices(volume: Volume, fetch: Fetch, voxel: Vec3): Promise<void> {
  await Promise.all(volume.through(voxel).map(async (box) => volume.take(partOf(await fetch(box), box))))
}

/** Bring all that is not here yet, nearest to where `where` says first; `arrived` is called after each part. */
export async function bringAll(
  volume: Volume,
  fetch: Fetch,
  where: () => Vec3,
  arrived: () => void,
  signal: AbortSignal,
): Promise<void> {
  const bring = async () => {
    for (let box = volume.next(where()); box && !signal.aborted; box = volume.next(where())) {
      volume.take(partOf(await fetch(box), box))
      arrived()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, bring))
}
