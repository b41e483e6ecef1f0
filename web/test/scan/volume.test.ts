import assert from 'node:assert/strict'
import { test } from 'node:test'
import { presets, Volume } from '../../src/scan/volume.ts'

/** A NIfTI file as the server makes it: int16, `value` of each voxel, spacing 1 x 2 x 3 mm. */
function scan(shape: [number, number, number], value: (x: number, y: number, z: number) => number): Volume {
  const [nx, ny, nz] = shape
  const file = new ArrayBuffer(352 + 2 * nx * ny * nz)
  const view = new DataView(file)
  view.setInt32(0, 348, true)
  view.setInt16(70, 4, true)
  for (const k of [0, 1, 2] as const) {
    view.setInt16(42 + 2 * k, shape[k], true)
    view.setFloat32(80 + 4 * k, k + 1, true)
    view.setFloat32(280 + 20 * k, k + 1, true) // the diagonal of srow
  }
  const voxels = new Int16Array(file, 352)
  for (let z = 0; z < nz; z++)
    for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) voxels[x + nx * (y + ny * z)] = value(x, y, z)
  return new Volume(file)
}

test('a scan is read as it was written', () => {
  const volume = scan([3, 4, 5], (x, y, z) => x + 10 * y + 100 * z)
  assert.deepEqual(
    [volume.shape, volume.spacing],
    [
      [3, 4, 5],
      [1, 2, 3],
    ],
  )
  assert.equal(volume.at([2, 3, 4]), 432)
  assert.deepEqual(volume.range, { low: 0, high: 432 })
  assert.throws(() => new Volume(new ArrayBuffer(400)), /damaged/)
})

test('numbers like Hounsfield units are shown as soft tissue, others by what most of them are', () => {
  const ct = scan([10, 10, 10], (x) => (x < 5 ? -1000 : 40 + 100 * (x - 5)))
  assert.ok(ct.isCT)
  assert.deepEqual(ct.first, { low: -160, high: 240 })
  assert.ok(presets(ct).some((one) => one.name === 'Bone'))
  const other = scan([10, 10, 10], (x) => x)
  assert.deepEqual([other.isCT, other.first], [false, other.auto])
})
