// The session as the page knows it: where it stands, the arrays of its objects, and what is being done to it.

import { ALL, Axes, type Box, formatBox, parseBox, type Vec3 } from '../scan/axes.ts'
import { Patch } from '../scan/patch.ts'
import type { Api, What } from '../server/api.ts'
import { ApiError, sentenceOf } from '../server/errors.ts'
import type { Done, ImageInfo, ObjectInfo, PlaceInfo, SessionState, Stroke } from '../server/types.ts'
import { type Conflict, lost, news, offered } from './conflict.ts'

const KEPT = 96 // patches

/** What is being computed. */
export interface Busy {
  kind: string
  since: number
  round: number
  queued: number
  stopping: boolean
}

/** What fine-tuning made of a stroke, until the user has judged it. */
export interface Adaptation {
  object: string
  before: Patch
  changed: number
  rounds: number
  seconds: number
  strokes: Stroke[]
  showing: 'before' | 'after'
}

export class Model {
  readonly axes: Axes
  busy: Busy | null = null
  adaptation: Adaptation | null = null
  last: { kind: string; seconds: number; total: number } | null = null
  /** The map that is to be seen of the current object, too. */
  map: What | null = null
  /** What was not done, since somebody else was faster, until the user has decided. */
  conflict: Conflict | null = null
  /** Called after every change; `error` is a sentence for the user. */
  onchange: () => void = () => {}
  onerror: (sentence: string) => void = () => {}
  private readonly patches = new Map<string, Patch>()
  private waiting: Stroke[] = []
  private tail: Promise<unknown> = Promise.resolve()
  /** Grows when others' work comes in: what was asked for before that is not done on top of it. */
  private surprises = 0
  private seen: { list: PlaceInfo[]; next: number; version: string } | null = null

  constructor(
    readonly api: Api,
    readonly image: ImageInfo,
    public state: SessionState,
  ) {
    this.axes = new Axes(image.shape, image.axes)
  }

  // ---- what there is

  get current(): ObjectInfo | null {
    return this.state.objects.find((object) => object.name === this.state.current) ?? null
  }

  /** Objects without their further slices. */
  get roots(): ObjectInfo[] {
    return this.state.objects.filter((object) => !object.part_of)
  }

  /** The name of the object that one is, or is a slice of. */
  rootOf(object: ObjectInfo): string {
    return object.part_of ?? object.name
  }

  partsOf(name: string): ObjectInfo[] {
    return this.state.objects.filter((object) => object.name === name || object.part_of === name)
  }

  /** An object's array, where it has arrived. */
  patch(object: ObjectInfo, what: What): Patch | null {
    return this.patches.get(`${what} ${object.version}`) ?? null
  }

  /** The current object's box, in canonical voxels. */
  get box(): Box | null {
    return this.current ? this.axes.boxToCanonical(parseBox(this.current.box)) : null
  }

  /** The file axis along which the current object is one plane thick; null where it is none. */
  get planeAxis(): 0 | 1 | 2 | null {
    if (!this.current) return null
    const { start, stop } = parseBox(this.current.box)
    return ALL.find((k) => stop[k] - start[k] === 1) ?? null
  }

  // ---- what is done

  /** A new object from a box in canonical voxels; whether there is one now. */
  async begin(box: Box): Promise<boolean> {
    let begun = false
    await this.queue(async () => {
      begun = (await this.perform('box', { box: formatBox(this.axes.boxToFile(box)) })) !== null
    })
    return begun
  }

  resize(box: Box): Promise<void> {
    return this.act('resize', { box: formatBox(this.axes.boxToFile(box)) })
  }

  /** A stroke that just ended; those that end while others are computed go together into the next interaction. */
  async scribble(stroke: Stroke): Promise<void> {
    this.waiting.push(stroke)
    await this.queue(async () => {
      const strokes = this.waiting
      this.waiting = []
      if (strokes.length) await this.adapt('scribble', strokes)
    })
  }

  refine(): Promise<void> {
    return this.queue(() => this.adapt('refine', []))
  }

  /** The current plane's box and classifier in the next slice: `step` slices towards the canonical end. */
  async propagate(step: 1 | -1): Promise<void> {
    const axis = this.planeAxis
    if (axis === null || !this.current) return
    const canonical = this.image.axes.findIndex((a) => Math.abs(a) === axis + 1)
    const forwards = (this.image.axes[canonical] ?? 1) > 0
    const to = parseBox(this.current.box).start[axis] + (forwards ? step : -step)
    await this.act('propagate', { to })
  }

  /** A foreground stroke that leaves the box: the box grows around it, and the object begins anew with all scribbles. */
  extend(box: Box, stroke: Stroke): Promise<void> {
    return this.act('resize', { box: formatBox(this.axes.boxToFile(box)), scribbles: { strokes: [stroke] } })
  }

  undo(): Promise<void> {
    return this.act('undo')
  }

  redo(): Promise<void> {
    return this.act('redo')
  }

  /** Keep what the adaptation did. */
  accept(): void {
    this.adaptation = null
    this.onchange()
  }

  /** Take the adaptation back; what was painted stays, and changes its own voxels only. */
  async reject(): Promise<void> {
    const rejected = this.adaptation
    if (!rejected) return
    this.adaptation = null
    await this.queue(async () => {
      if (!(await this.perform('undo', {}))) return
      if (rejected.strokes.length) {
        await this.perform('scribble', { scribbles: { strokes: rejected.strokes }, refine: 'none' })
      }
      if (this.last) this.last.kind = 'reject'
      this.onchange()
    })
  }

  /** Do all the same what was not done, on the session as it is now. */
  async again(): Promise<void> {
    const { conflict } = this
    if (!conflict) return
    const { kind, body, strokes, object } = conflict
    this.conflict = null
    this.onchange()
    await this.queue(async () => {
      if (kind !== 'box' && object !== null && object !== this.current?.name) {
        if (!this.state.objects.some((one) => one.name === object)) {
          throw new ApiError(0, `There is no ${object} any more; nothing was done.`)
        }
        if (!(await this.perform('select', { name: object }))) return
      }
      if (kind !== 'scribble' && !(await this.perform(kind, body))) return
      if (strokes.length) await this.adapt('scribble', strokes)
    })
  }

  /** Leave undone what was not done. */
  drop(): void {
    this.conflict = null
    this.onchange()
  }

  show(showing: 'before' | 'after'): void {
    if (this.adaptation) this.adaptation.showing = showing
    this.onchange()
  }

  async cancel(): Promise<void> {
    if (!this.busy || this.busy.stopping) return
    this.busy.stopping = true
    this.waiting = []
    this.onchange()
    await this.api.cancel(this.state.id).catch(() => {})
  }

  act(kind: string, body: object = {}): Promise<void> {
    return this.queue(async () => {
      await this.perform(kind, body)
    })
  }

  /** Where to look next: the places where most uncertainty is gathered, one after the other. Canonical voxels. */
  async lookNext(): Promise<Vec3 | null> {
    const current = this.current
    if (!current) return null
    if (this.seen?.version !== current.version) {
      const list = await this.api.places(this.state.id, current.name)
      this.seen = { list, next: 0, version: current.version }
    }
    const place = this.seen.list[this.seen.next++ % Math.max(1, this.seen.list.length)]
    return place ? this.axes.toCanonical(place.voxel) : null
  }

  /** Load what is not here yet of objects as they stand. */
  async refresh(): Promise<void> {
    const wanted: [ObjectInfo, What][] = this.state.objects.map((object) => [object, 'mask'])
    const { current } = this
    if (current) wanted.push([current, 'scribbles'])
    if (current && this.map) wanted.push([current, this.map])
    try {
      await Promise.all(wanted.map(([object, what]) => this.load(object, what)))
    } catch (error) {
      if (!stale(error)) throw error
      await this.surprised() // which loads what there is now
      return
    }
    this.onchange()
  }

  /** Others were faster: show what they did, and offer what was not done for it. */
  private async surprised(kind = '', body: object = {}): Promise<void> {
    const before = this.state
    const object = this.current?.name ?? null
    this.adaptation = null
    this.state = await this.api.session(before.id)
    this.surprises++
    try {
      await this.refresh()
    } finally {
      this.surprises++ // nor what was drawn before it was on the screen
      const told = news(before.objects, this.state.objects)
      const undone = { kind, body, strokes: this.waiting, object, news: told }
      this.waiting = []
      if (kind === 'scribble')
        undone.strokes = [...(body as { scribbles: { strokes: Stroke[] } }).scribbles.strokes, ...undone.strokes]
      else if (!offered(kind)) undone.kind = 'scribble'
      const kept = offered(kind) || undone.strokes.length > 0
      if (kept) this.conflict = undone
      this.onerror(kept ? `${told} ${lost(undone)}` : `${told} This is how it is now.`)
      this.onchange()
    }
  }

  private async load(object: ObjectInfo, what: What): Promise<void> {
    const key = `${what} ${object.version}`
    const known = this.patches.get(key)
    this.patches.delete(key)
    try {
      const result = known ?? (await this.api.result(this.state.id, what, object.name, object.version))
      this.patches.set(key, result instanceof Patch ? result : new Patch(this.axes, result.box, result.data))
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error // no weight map yet
    }
    const surplus = this.patches.size - KEPT - 2 * this.state.objects.length
    for (const old of [...this.patches.keys()].slice(0, Math.max(0, surplus))) this.patches.delete(old)
  }

  /** One interaction after the other, in the order they were asked for. */
  private queue(work: () => Promise<void>): Promise<void> {
    const { surprises } = this
    const asked = () => (surprises === this.surprises ? work() : undefined)
    const next = this.tail.then(asked).catch((error: unknown) => {
      this.onerror(sentenceOf(error))
    })
    this.tail = next
    return next
  }

  private async adapt(kind: 'scribble' | 'refine', strokes: Stroke[]): Promise<void> {
    const object = this.current
    const before = object && this.patch(object, 'mask')
    this.adaptation = null
    const done = await this.perform(kind, kind === 'refine' ? {} : { scribbles: { strokes } })
    const after = this.current && this.patch(this.current, 'mask')
    if (!done || !object || !before || !after || before.data.length !== after.data.length) return
    this.adaptation = {
      object: object.name,
      before,
      changed: difference(before, after),
      rounds: done.rounds.length,
      seconds: done.seconds,
      strokes,
      showing: 'after',
    }
    this.onchange()
  }

  private async perform(kind: string, body: object): Promise<Done | null> {
    const since = performance.now()
    this.adaptation = null
    this.busy = { kind, since, round: 0, queued: 0, stopping: false }
    this.onchange()
    try {
      const done = await this.api.act(this.state.id, kind, body, {
        round: (told) => this.progress({ round: told.round }),
        queued: (queued) => this.progress({ queued }),
        at: this.state.number,
      })
      this.state = { ...this.state, ...standing(done) }
      await this.refresh()
      this.last = { kind, seconds: done.seconds, total: (performance.now() - since) / 1000 }
      return done
    } catch (error) {
      if (!stale(error)) throw error
      await this.surprised(kind, body)
      return null
    } finally {
      this.busy = null
      this.onchange()
    }
  }

  private progress(news: Partial<Busy>): void {
    if (this.busy) Object.assign(this.busy, news)
    this.onchange()
  }
}

function standing({ number, objects, current, can_undo, can_redo }: Done): Partial<SessionState> {
  return { number, objects, current, can_undo, can_redo }
}

function stale(error: unknown): boolean {
  return error instanceof ApiError && error.status === 412
}

function difference(one: Patch, other: Patch): number {
  let changed = 0
  for (let k = 0; k < one.data.length; k++) changed += Number(one.data[k] !== other.data[k])
  return changed
}
