import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Surface, surfaceOf, type Triple } from '../../src/surface/nets.ts'
import { basis, drawn } from '../../src/surface/raster.ts'

const SPACING: Triple = [1, 1, 2]

/** A ball of 10 mm in the middle of 30 x 30 x 15 voxels. */
function ball(): Uint8Array {
  const mask = new Uint8Array(30 * 30 * 15)
  for (let z = 0, at = 0; z < 15; z++)
    for (let y = 0; y < 30; y++)
      for (let x = 0; x < 30; x++, at++) mask[at] = Number(Math.hypot(x - 15, y - 15, 2 * (z - 7)) < 10)
  return mask
}

/** What a closed surface encloses; positive where its quads are counter-clockwise from outside. */
function volumeOf({ places, quads }: Surface): number {
  const corner = (k: number): Triple => [0, 1, 2].map((axis) => places[3 * (quads[k] ?? 0) + axis] ?? 0) as Triple
  let six = 0
  for (let k = 0; k < quads.length; k += 4) {
    for (const [i, j] of [
      [1, 2],
      [2, 3],
    ] as const) {
      const [a, b, c] = [corner(k), corner(k + i), corner(k + j)]
      six +=
        a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    }
  }
  return six / 6
}

test('a ball has a smooth surface of its size, seen from outside', () => {
  const mask = ball()
  const surface = surfaceOf(mask, [30, 30, 15], SPACING, [100, 0, 0])
  const voxels = 2 * mask.reduce((sum, one) => sum + one, 0)
  assert.ok(Math.abs(volumeOf(surface) / voxels - 1) < 0.06, `${volumeOf(surface)} of ${voxels}`)
  const middle: Triple = [115, 15, 14]
  for (let at = 0; at < surface.places.length; at += 3) {
    const away = [0, 1, 2].map((k) => (surface.places[at + k] ?? 0) - (middle[k] ?? 0))
    const radius = Math.hypot(...away)
    assert.ok(Math.abs(radius - 10) < 1.2, `a vertex at ${radius} mm`)
    const along = away.reduce((sum, value, k) => sum + (value / radius) * (surface.normals[at + k] ?? 0), 0)
    assert.ok(along > 0.9, `a normal at ${along}`)
  }
})

test('nothing has no surface, and what fills its array has a closed one', () => {
  assert.equal(surfaceOf(new Uint8Array(8), [2, 2, 2], SPACING, [0, 0, 0]).quads.length, 0)
  const block = surfaceOf(new Uint8Array(1000).fill(1), [10, 10, 10], SPACING, [0, 0, 0])
  assert.ok(Math.abs(volumeOf(block) / 2000 - 1) < 0.1)
})

test('it is seen from the front, the nearer of two hides the other, and corners are darker', () => {
  const [right, up, near] = basis({ turn: 0, tilt: 0, scale: 1, centre: [0, 0, 0] })
  assert.deepEqual(
    [right, up, near].flat().map((n) => n + 0),
    [-1, 0, 0, 0, 0, 1, 0, 1, 0],
  )
  const surface = surfaceOf(ball(), [30, 30, 15], SPACING, [0, 0, 0])
  const behind = surfaceOf(ball(), [30, 30, 15], SPACING, [0, -30, 0])
  const bodies = [
    { surface, colour: [255, 0, 0] as Triple },
    { surface: behind, colour: [0, 0, 255] as Triple },
  ]
  const camera = { turn: 0, tilt: 0, scale: 2, centre: [15, 15, 14] as Triple }
  const pixels = drawn(bodies, camera, 80, 60, true)
  const at = (x: number, y: number) => [...pixels.subarray(4 * (x + 80 * y), 4 * (x + 80 * y) + 4)]
  const [r = 0, , b = 0, a] = at(40, 30)
  assert.equal(a, 255)
  assert.ok(r > 120 && r > 2 * b)
  assert.equal(at(2, 2)[3], 0)
  assert.ok((at(34, 24)[0] ?? 0) > (at(48, 40)[0] ?? 0), 'the light comes from the upper left')
  const covered = pixels.filter((value, k) => k % 4 === 3 && value > 0).length
  assert.ok(Math.abs(covered / (Math.PI * 400) - 1) < 0.1, `${covered} pixels`)
})
