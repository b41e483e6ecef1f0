import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Stroke } from '../../src/server/types.ts'
import { alarming } from '../../src/session/adaptation.ts'
import { Outbox } from '../../src/session/outbox.ts'
import { radiusFor, resized } from '../../src/tools/brush_size.ts'

const STROKE: Stroke = { points: [[1, 2, 3]], label: 1, radius: 1 }

function storage(): Storage {
  const kept = new Map<string, string>()
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
    get length() {
      return kept.size
    },
  } as Storage
}

test('what has no answer is there after a reload, under the same key, and gone after it', () => {
  const store = storage()
  const before = new Outbox('s', store)
  before.wait([STROKE])
  const sent = { key: 'k', kind: 'scribble', body: { scribbles: { strokes: before.take() } }, at: 4 }
  before.send(sent)
  before.wait([STROKE])
  const after = new Outbox('s', store)
  assert.deepEqual(after.sent, sent)
  assert.equal(after.strokes.length, 2)
  assert.equal(new Outbox('another', store).strokes.length, 0)
  after.answered()
  assert.deepEqual(after.take(), [STROKE])
  assert.equal(store.length, 0)
})

test('clicks are not kept, and a storage that is damaged or full loses nothing of the page', () => {
  const store = storage()
  const box = new Outbox('s', store)
  box.send({ key: 'k', kind: 'undo', body: {}, at: 4 })
  assert.equal(store.length, 0)
  store.setItem('bifseg-unsent-s', '{')
  const damaged = new Outbox('s', store)
  assert.equal(damaged.strokes.length, 0)
  const full = new Outbox('s', {
    ...storage(),
    setItem: () => {
      throw new Error('full')
    },
  } as Storage)
  full.wait([STROKE])
  assert.equal(full.strokes.length, 1)
})

test('a mask that halves or doubles is an alarm, one that was empty is none', () => {
  assert.equal(alarming(100, 49), 'shrunk')
  assert.equal(alarming(100, 50), null)
  assert.equal(alarming(100, 199), null)
  assert.equal(alarming(100, 200), 'grown')
  assert.equal(alarming(0, 200), null)
})

test('a brush is as wide as a twentieth of the shorter side of the box, in mm', () => {
  assert.equal(radiusFor({ start: [0, 0, 0], stop: [80, 200, 1] }, [1, 1, 1]), 2)
  assert.equal(radiusFor({ start: [0, 0, 0], stop: [80, 200, 10] }, [0.5, 0.5, 5]), 2)
  assert.equal(radiusFor({ start: [0, 0, 0], stop: [4, 4, 1] }, [1, 1, 1]), 0)
  assert.equal(resized(2, 1), 3)
  assert.equal(resized(0, -1), 0)
})

test('strokes that are to begin an object are there after a reload, until it has begun', () => {
  const store = storage()
  const before = new Outbox('s', store)
  assert.equal(before.opening, null)
  before.open([])
  assert.equal(store.length, 0) // nothing is painted yet
  before.open([STROKE])
  const after = new Outbox('s', store)
  assert.deepEqual(after.opening, [STROKE])
  assert.deepEqual(after.strokes, [STROKE])
  after.open(null)
  assert.equal(store.length, 0)
})
