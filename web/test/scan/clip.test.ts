import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Box, Vec3 } from '../../src/scan/axes.ts'
import { holds, inside } from '../../src/scan/clip.ts'

const BOX: Box = { start: [2, 3, 4], stop: [8, 9, 5] }

test('a stroke inside stays as it is, one outside is nothing', () => {
  const within: Vec3[] = [
    [2, 3, 4],
    [7, 8, 4],
    [5, 5, 4],
  ]
  assert.deepEqual(inside(BOX, within), [within])
  assert.deepEqual(inside(BOX, [[5, 5, 4]]), [[[5, 5, 4]]])
  assert.deepEqual(inside(BOX, [[1, 5, 4]]), [])
  assert.deepEqual(
    inside(BOX, [
      [0, 0, 4],
      [0, 20, 4],
      [20, 20, 4],
    ]),
    [],
  )
})

test('a stroke that leaves and comes back is two, and what lies between is not moved to the border', () => {
  const pieces = inside(BOX, [
    [4, 5, 4],
    [12, 5, 4],
    [12, 7, 4],
    [4, 7, 4],
  ])
  assert.equal(pieces.length, 2)
  assert.deepEqual(pieces[0]?.[0], [4, 5, 4])
  assert.deepEqual(pieces[1]?.at(-1), [4, 7, 4])
  for (const piece of pieces) for (const place of piece) assert.ok(holds(BOX, place), String(place))
})

test('whatever is drawn, every piece lies in the box', () => {
  let seed = 7
  const random = () => {
    seed = (seed * 16807) % 2147483647
    return seed / 2147483647
  }
  for (let n = 0; n < 300; n++) {
    const points = Array.from({ length: 1 + Math.floor(8 * random()) }, (): Vec3 => [12 * random(), 12 * random(), 4])
    const pieces = inside(BOX, points)
    for (const piece of pieces) for (const place of piece) assert.ok(holds(BOX, place))
    if (points.some((place) => holds(BOX, place))) assert.ok(pieces.length > 0)
  }
})
