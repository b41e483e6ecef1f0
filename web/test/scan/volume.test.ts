import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bringAll, bringSlices } from '../../src/scan/arrival.ts'
import type { Box, Vec3 } from '../../src/scan/axes.ts'
import { pixelOf } from '../../src/scan/shading.ts'
import { partOf, presets, Volume } from '../../src/scan/volume.ts'
import type { DisplayInfo } from '../../src/server/types.ts'

type Value = (x: number, y: number, z: number) => number
const UNKNOWN = { unit: null, modality: null, suv: null, suv_missing: null, description: null }

/** A NIfTI file as the server makes it of a part: int16, `value` of each voxel. */
function file({ start, stop }: Box, value: Value): ArrayBuffer {
  const [nx, ny, nz] = [0, 1, 2].map((k) => (stop[k] ?? 0) - (start[k] ?? 0)) as Vec3
  const content = new ArrayBuffer(352 + 2 * nx * ny * nz)
  const view = new DataView(content)
  view.setInt32(0, 348, true)
  view.setInt16(70, 4, true)
  const voxels = new Int16Array(content, 352)
  let at = 0
  for (let z = start[2]; z < stop[2]; z++)
    for (let y = start[1]; y < stop[1]; y++) for (let x = start[0]; x < stop[0]; x++) voxels[at++] = value(x, y, z)
  return content
}

/** A volume of which nothing is here yet. */
function coming(shape: Vec3, range: [number, number], most = range): Volume {
  const display: DisplayInfo = {
    low: null,
    high: null,
    function: 'LINEAR',
    table: null,
    inverted: false,
    range,
    most,
    ...UNKNOWN,
  }
  return new Volume({ shape, spacing: [1, 2, 3], coloured: false }, display)
}

/** A volume that is here; its levels are those of the voxels. */
async function scan(shape: Vec3, value: Value, most?: [number, number]): Promise<Volume> {
  const values = new Int16Array(file({ start: [0, 0, 0], stop: shape }, value), 352)
  const volume = coming(shape, [Math.min(...values), Math.max(...values)], most)
  await bringSlices(volume, async (box) => file(box, value), [0, 0, 0])
  return volume
}

test('a scan is read as it was written', async () => {
  const volume = await scan([3, 4, 5], (x, y, z) => x + 10 * y + 100 * z)
  assert.deepEqual([volume.shape, volume.spacing, volume.share], [[3, 4, 5], [1, 2, 3], 1])
  assert.equal(volume.at([2, 3, 4]), 432)
  assert.deepEqual(volume.range, { low: 0, high: 432 })
  const box: Box = { start: [0, 0, 0], stop: [3, 4, 5] }
  assert.throws(() => partOf(new ArrayBuffer(400), box), /damaged/)
  assert.throws(
    () =>
      partOf(
        file({ ...box, stop: [3, 4, 4] }, () => 1),
        box,
      ),
    /damaged/,
  )
})

test('slices that are looked at come first, then what is nearest; what is early is what is there in the end', async () => {
  const shape: Vec3 = [1024, 512, 40] // five slabs
  const value: Value = (x, y, z) => ((31 * x + 17 * y + 7 * z) % 251) + 1
  const volume = coming(shape, [1, 251])
  const asked: Box[] = []
  const fetch = async (box: Box) => {
    asked.push(box)
    return file(box, value)
  }
  const seen: Vec3 = [700, 100, 29]
  await bringSlices(volume, fetch, seen)
  assert.equal(asked.length, 3)
  assert.equal(volume.share, 0)
  const places: Vec3[] = [
    [700, 3, 5],
    [4, 100, 11],
    [5, 6, 29],
  ] // each in one of the slices
  for (const [x, y, z] of places) assert.equal(volume.at([x, y, z]), value(x, y, z))
  assert.equal(volume.at([1, 2, 3]), null)
  assert.equal(volume.colourAt(seen), null)
  const order: number[] = []
  await bringAll(
    volume,
    fetch,
    () => seen,
    () => order.push(volume.share),
    new AbortController().signal,
  )
  assert.deepEqual(
    asked.slice(3).map(({ start }) => start[2]),
    [24, 32, 16, 8, 0],
  )
  assert.equal(order.at(-1), 1)
  for (const [x, y, z] of [...places, [1, 2, 3] as Vec3]) assert.equal(volume.at([x, y, z]), value(x, y, z))
})

test('what is left is not brought when nobody looks any more', async () => {
  const volume = coming([1024, 512, 40], [0, 1])
  const leaving = new AbortController()
  let count = 0
  const fetch = async (box: Box) => file(box, () => ++count)
  await bringAll(
    volume,
    fetch,
    () => [0, 0, 0],
    () => leaving.abort(),
    leaving.signal,
  )
  assert.ok(volume.share < 1)
})

test('numbers like Hounsfield units are shown as soft tissue, others by what most of them are', async () => {
  const ct = await scan([10, 10, 10], (x) => (x < 5 ? -1000 : 40 + 100 * (x - 5)))
  assert.ok(ct.isCT)
  assert.deepEqual(ct.first, { low: -160, high: 240 })
  assert.ok(presets(ct).some((one) => one.name === 'Bone'))
  const other = await scan([10, 10, 10], (x) => x, [1, 8])
  assert.deepEqual([other.isCT, other.first], [false, { low: 1, high: 8 }])
})

test('a table of the file is followed from its first value to its last', () => {
  const display: DisplayInfo = {
    ...{ low: -2, high: 2, function: 'TABLE', table: [0, 5, 9, 200, 255], inverted: false },
    ...{ range: [-9, 9], most: [-8, 8], ...UNKNOWN },
  }
  const volume = new Volume({ shape: [1, 1, 1], spacing: [1, 1, 1], coloured: false }, display)
  assert.deepEqual(volume.first, { low: -2, high: 2, listed: true })
  const values = Int16Array.from([-9, -2, -1, 0, 1, 2, 9])
  const greys = (inverted: boolean, of: typeof values | Float32Array<ArrayBuffer> = values) => {
    const pixel = pixelOf(of, volume.first, inverted, display.table)
    return [...of].map((_, k) => pixel(of, k) & 0xff)
  }
  assert.deepEqual(greys(false), [0, 0, 5, 9, 200, 255, 255])
  assert.deepEqual(greys(true), [255, 255, 250, 246, 55, 0, 0])
  assert.deepEqual(greys(false, Float32Array.from(values)), greys(false))
})
