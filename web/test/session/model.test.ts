import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Api } from '../../src/server/api.ts'
import { ApiError } from '../../src/server/errors.ts'
import type { Done, ImageInfo, ObjectInfo, SessionState, Stroke } from '../../src/server/types.ts'
import { Model } from '../../src/session/model.ts'

const IMAGE = { key: 'k', shape: [8, 8, 8], axes: [1, 2, 3], planar: false } as unknown as ImageInfo
const STROKE: Stroke = { points: [[1, 1, 1]], label: 1, radius: 1 }

function object(name: string, version: string): ObjectInfo {
  return { name, box: '0:4,0:4,0:4', voxels: 1, version, part_of: null, prior: null, tidy: null }
}

/** A server of one session; `others` do something to it before the next interaction comes. */
class Fake {
  state = { id: 's', number: 1, objects: [object('a', 'v1')], current: 'a' } as unknown as SessionState
  asked: { kind: string; at: number | undefined; body: unknown }[] = []
  others: (() => void)[] = []

  move(objects: ObjectInfo[], current = this.state.current): void {
    this.state = { ...this.state, number: this.state.number + 1, objects, current }
  }

  async act(_: string, kind: string, body: object, { at }: { at?: number }): Promise<Done> {
    this.others.shift()?.()
    this.asked.push({ kind, at, body })
    if (at !== this.state.number) throw new ApiError(412, 'The session was changed meanwhile.')
    const { name } = body as { name?: string }
    this.move(
      this.state.objects.map((one) => (kind === 'select' ? one : { ...one, version: `${one.version}+` })),
      kind === 'select' ? (name ?? null) : this.state.current,
    )
    return { ...this.state, kind, changed: true, repeated: false, seconds: 0, milliseconds: {}, rounds: [] }
  }

  async session(): Promise<SessionState> {
    return this.state
  }

  async result(_: string, _what: string, name: string, version: string) {
    if (this.state.objects.find((one) => one.name === name)?.version !== version) throw new ApiError(412, 'changed')
    return { data: new Uint8Array(64), box: { start: [0, 0, 0], stop: [4, 4, 4] }, number: this.state.number }
  }
}

function begun(): { fake: Fake; model: Model; said: string[] } {
  const fake = new Fake()
  const model = new Model(fake as unknown as Api, IMAGE, fake.state)
  const said: string[] = []
  model.onerror = (sentence) => said.push(sentence)
  return { fake, model, said }
}

test('what one draws is for the state that one sees', async () => {
  const { fake, model, said } = begun()
  await model.scribble([STROKE])
  await model.undo()
  assert.deepEqual(
    fake.asked.map(({ at }) => at),
    [1, 2],
  )
  assert.deepEqual(said, [])
})

test('a stroke on an older state is not drawn, but kept and offered, and what others did is shown', async () => {
  const { fake, model, said } = begun()
  fake.others = [() => fake.move([object('a', 'v2'), object('b', 'v3')], 'a')]
  const drawn = [model.scribble([STROKE]), model.undo()]
  await Promise.all(drawn)
  assert.deepEqual(
    fake.asked.map(({ kind }) => kind),
    ['scribble'],
  ) // nor what was asked for after it
  assert.equal(model.state.number, 2)
  assert.equal(model.patch(object('a', 'v2'), 'mask')?.data.length, 64)
  assert.deepEqual(model.conflict?.strokes, [STROKE])
  assert.match(said[0] ?? '', /Someone else .* a is changed, b is new\. Your stroke was not drawn/)
  await model.again()
  assert.deepEqual(fake.asked.at(-1), { kind: 'scribble', at: 2, body: { scribbles: { strokes: [STROKE] } } })
  assert.equal(model.conflict, null)
})

test('it is drawn on the object that it was for', async () => {
  const { fake, model } = begun()
  fake.others = [() => fake.move([object('a', 'v1'), object('b', 'v3')], 'b')]
  await model.scribble([STROKE])
  await model.again()
  assert.deepEqual(
    fake.asked.slice(1).map(({ kind, at }) => [kind, at]),
    [
      ['select', 2],
      ['scribble', 3],
    ],
  )
  fake.others = [() => fake.move([object('b', 'v3')], 'b')]
  await model.scribble([STROKE])
  const count = fake.asked.length
  await model.again()
  assert.equal(fake.asked.length, count) // it is gone
})

test('what others did is on the screen at once, and what is asked for before is told not to be done', async () => {
  const { fake, model, said } = begun()
  let arrived = () => {}
  const arrays = new Promise<void>((resolve) => {
    arrived = resolve
  })
  const result = fake.result.bind(fake)
  fake.result = async (...asked) => {
    await arrays
    return result(...asked)
  }
  fake.move([object('a', 'v2'), object('b', 'v3')], 'b')
  model.heard(2)
  await new Promise((resolve) => setTimeout(resolve))
  assert.equal(model.state.number, 1) // its arrays are not here
  const renamed = model.act('rename', { name: 'c' })
  fake.move([object('a', 'v2'), object('b', 'v3')], 'a')
  model.heard(3) // once more, while that is fetched
  arrived()
  await renamed
  assert.match(said.at(-1) ?? '', /What you did last was not done/)
  await model.settled
  assert.equal(model.state.number, 3)
  assert.deepEqual(fake.asked, [])
  await model.act('rename', { name: 'c' })
  assert.equal(fake.asked.length, 1)
})

test('an undo on an older state is only told', async () => {
  const { fake, model, said } = begun()
  fake.others = [() => fake.move([])]
  await model.undo()
  assert.equal(model.conflict, null)
  assert.match(said[0] ?? '', /a is gone\. This is how it is now/)
})

test('strokes that wait behind are kept, too', async () => {
  const { fake, model } = begun()
  fake.others = [() => fake.move([object('a', 'v2')])]
  await Promise.all([model.act('resize', { box: '0:5,0:5,0:5' }), model.scribble([STROKE]), model.scribble([STROKE])])
  assert.equal(model.conflict?.kind, 'resize')
  assert.equal(model.conflict?.strokes.length, 2)
  await model.again()
  assert.deepEqual(
    fake.asked.slice(1).map(({ kind }) => kind),
    ['resize', 'scribble'],
  )
})

test('a mask of a later version than the state is never shown as if it were of this one', async () => {
  const { fake, model, said } = begun()
  fake.move([object('a', 'v2')])
  await model.refresh()
  assert.equal(model.state.number, 2)
  assert.ok(model.patch(object('a', 'v2'), 'mask'))
  assert.equal(model.patch(object('a', 'v1'), 'mask'), null)
  assert.match(said[0] ?? '', /a is changed/)
})
