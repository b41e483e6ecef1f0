import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Axes, type Box, formatBox, parseBox, type Vec3 } from '../../src/scan/axes.ts'

const SHAPE: Vec3 = [3, 4, 5]
const ORDERS = [
  [1, 2, 3],
  [1, 3, 2],
  [2, 1, 3],
  [2, 3, 1],
  [3, 1, 2],
  [3, 2, 1],
] as const
const SIGNS = [-1, 1] as const
const ALL48: Vec3[] = ORDERS.flatMap(([a, b, c]) =>
  SIGNS.flatMap((p) => SIGNS.flatMap((q) => SIGNS.map((r): Vec3 => [p * a, q * b, r * c]))),
)

function voxels({ start, stop }: Box): Vec3[] {
  const found: Vec3[] = []
  for (let x = start[0]; x < stop[0]; x++)
    for (let y = start[1]; y < stop[1]; y++) for (let z = start[2]; z < stop[2]; z++) found.push([x, y, z])
  return found
}

function boxes(shape: Vec3): Box[] {
  const whole: Box = { start: [0, 0, 0], stop: shape }
  const corner: Vec3 = [shape[0] - 1, shape[1] - 1, shape[2] - 1]
  return [whole, { start: [1, 0, 2], stop: [2, 3, 5] }, { start: [0, 1, 0], stop: corner }]
}

test('there are 48 orientations, and no two do the same', () => {
  const all = voxels({ start: [0, 0, 0], stop: SHAPE })
  const images = ALL48.map((signed) => {
    const axes = new Axes(SHAPE, signed)
    return all.map((voxel) => axes.toCanonical(voxel).join()).join(' ')
  })
  assert.equal(new Set(images).size, 48)
})

test('a canonical axis runs along or against the file axis that it names', () => {
  const axes = new Axes(SHAPE, [-3, 1, -2])
  assert.deepEqual(axes.shape, [5, 3, 4])
  assert.deepEqual(axes.toCanonical([0, 0, 0]), [4, 0, 3])
  assert.deepEqual(axes.toCanonical([2, 1, 0.25]), [3.75, 2, 2])
  assert.deepEqual(axes.spacing([0.5, 1, 2]), [2, 0.5, 1])
  assert.deepEqual(axes.boxToCanonical({ start: [0, 1, 2], stop: [2, 2, 5] }), { start: [0, 0, 2], stop: [3, 2, 3] })
})

for (const signed of ALL48) {
  test(`axes ${signed.join(', ')}: voxels and boxes there and back`, () => {
    const axes = new Axes(SHAPE, signed)
    for (const voxel of voxels({ start: [0, 0, 0], stop: SHAPE })) {
      const there = axes.toCanonical(voxel)
      assert.ok(there.every((c, k) => c >= 0 && c < Number(axes.shape[k])))
      assert.deepEqual(axes.toFile(there), voxel)
    }
    for (const box of boxes(SHAPE)) {
      const there = axes.boxToCanonical(box)
      const moved = voxels(box).map((voxel) => axes.toCanonical(voxel).join())
      assert.deepEqual(new Set(voxels(there).map((voxel) => voxel.join())), new Set(moved))
      assert.deepEqual(axes.boxToFile(there), box)
    }
  })

  test(`axes ${signed.join(', ')}: strides find what a plain loop finds`, () => {
    const axes = new Axes(SHAPE, signed)
    for (const box of boxes(SHAPE)) {
      const inFile = voxels(box).map((voxel) => voxel.join()) // in C order: z runs fastest
      const there = axes.boxToCanonical(box)
      const { offset, step } = axes.strides(box)
      for (const canonical of voxels(there)) {
        const [i, j, k] = canonical.map((c, axis) => c - Number(there.start[axis])) as Vec3
        const place = offset + i * step[0] + j * step[1] + k * step[2]
        assert.equal(inFile[place], axes.toFile(canonical).join())
      }
    }
  })
}

test('axes that are no permutation are refused', () => {
  for (const wrong of [
    [1, 1, 2],
    [0, 1, 2],
    [1, 2, 4],
  ] as Vec3[])
    assert.throws(() => new Axes(SHAPE, wrong), /±1/)
})

test('boxes are written as the server writes them', () => {
  for (const text of ['40:80,52:90,12', '0:1000,3,5:7']) assert.equal(formatBox(parseBox(text)), text)
  assert.deepEqual(parseBox('4:5, 0:2 ,7'), { start: [4, 0, 7], stop: [5, 2, 8] })
  for (const text of ['', '1,2', '1,2,3,4', '2:2,1,1', '5:2,1,1', '-1,2,3', 'a,b,c', '1:2:3,1,1', '1:,2,3']) {
    assert.throws(() => parseBox(text), /40:80,52:90,12/, text)
  }
})
