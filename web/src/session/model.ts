// The session as the page knows it: where it stands, the arrays of its objects, and what is being done to it.

import { ALL, Axes, type Box, formatBox, parseBox } from '../scan/axes.ts'
import type { Patch } from '../scan/patch.ts'
import { type Api, newKey, type What } from '../server/api.ts'
import { ApiError, isRefused, sentenceOf } from '../server/errors.ts'
import type { Done, EntryInfo, ImageInfo, ObjectInfo, SessionState, Stroke } from '../server/types.ts'
import { type Adaptation, adaptation, type Showing } from './adaptation.ts'
import { type Conflict, lost, news, notDone } from './conflict.ts'
import { Outbox, type Sending, strokesOf } from './outbox.ts'
import { Patches } from './patches.ts'
import { Turns } from './turns.ts'

/** What is being computed. */
export interface Busy {
  kind: string
  since: number
  round: number
  queued: number
  stopping: boolean
}

const TOO_LATE = 'Someone else worked on this session meanwhile. What you did last was not done; look, and do it again.'

export class Model {
  readonly axes: Axes
  busy: Busy | null = null
  adaptation: Adaptation | null = null
  last: { kind: string; seconds: number; total: number } | null = null
  /** The map that is to be seen of the current object, too. */
  map: What | null = null
  /** The task that new objects belong to. */
  task: string | null = null
  /** What was not done, since somebody else was faster, until the user has decided. */
  conflict: Conflict | null = null
  /** Called after every change; `error` is a sentence for the user. */
  onchange: () => void = () => {}
  onerror: (sentence: string) => void = () => {}
  /** Asked whether to take back a step that was not done here. */
  onforeign: (step: EntryInfo) => Promise<boolean> = async () => true
  private readonly patches: Patches
  readonly outbox: Outbox
  /** Numbers of steps that others did while this was open. */
  private readonly foreign = new Set<number>()
  private readonly turns = new Turns(
    (error) => this.onerror(sentenceOf(error)),
    () => this.conflict || this.onerror(TOO_LATE), // what is offered again was told
  )

  constructor(
    readonly api: Api,
    readonly image: ImageInfo,
    public state: SessionState,
  ) {
    this.axes = new Axes(image.shape, image.axes)
    this.patches = new Patches(api, this.axes, state.id)
    this.outbox = new Outbox(state.id)
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
    return this.patches.get(object, what)
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

  /** Strokes that no mask knows yet, in file voxels. */
  get pending(): Stroke[] {
    return this.outbox.strokes
  }

  /** Resolves when all that was asked for is done. */
  get settled(): Promise<unknown> {
    return this.turns.settled
  }

  // ---- what is done

  /** Do what was drawn before the page was left, and had no answer: once, whether or not the server had done it. */
  async resume(): Promise<void> {
    const { sent } = this.outbox
    if (sent) {
      await this.turns.take(async () => {
        if (sent.kind === 'box') await this.perform(sent.kind, sent.body, sent)
        else await this.adapt(sent.kind, strokesOf(sent.body), sent.body, sent)
      })
    }
    if (this.outbox.waiting.length) await this.scribble([])
  }

  /** Somebody says that the session is at this number now. */
  heard(number: number): void {
    if (number <= this.state.number) return
    void this.turns.keep(async () => {
      if (number > this.state.number) await this.surprised()
    })
  }

  /** A new object from a box in canonical voxels, or from strokes, which make one; whether there is one now. */
  async begin(by: Box | Stroke[]): Promise<boolean> {
    let begun = false
    await this.turns.take(async () => {
      const body = Array.isArray(by) ? { scribbles: { strokes: by } } : { box: formatBox(this.axes.boxToFile(by)) }
      begun = (await this.perform('box', this.task === null ? body : { ...body, task: this.task })) !== null
    })
    return begun
  }

  resize(box: Box): Promise<void> {
    return this.act('resize', { box: formatBox(this.axes.boxToFile(box)) })
  }

  /** Strokes that just ended; those that end while others are computed go together into the next interaction. */
  async scribble(strokes: Stroke[]): Promise<void> {
    this.outbox.wait(strokes)
    this.onchange()
    await this.turns.take(async () => {
      const together = this.outbox.take()
      if (together.length) await this.adapt('scribble', together)
    })
  }

  refine(): Promise<void> {
    return this.turns.take(() => this.adapt('refine', []))
  }

  /** A foreground stroke that leaves the box: the box grows around it, and the object begins anew with all scribbles. */
  extend(box: Box, stroke: Stroke): Promise<void> {
    const body = { box: formatBox(this.axes.boxToFile(box)), scribbles: { strokes: [stroke] } }
    return this.turns.take(() => this.adapt('resize', [stroke], body))
  }

  /** Take back the last step; where others did it, whoever asks is asked first. */
  async undo(): Promise<void> {
    await this.turns.take(async () => {
      const { undoes, id } = this.state
      if (undoes !== null && this.foreign.has(undoes)) {
        const [step] = await this.api.history(id, undoes - 1)
        if (step && !(await this.onforeign(step))) return
      }
      await this.perform('undo', {})
    })
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
    await this.turns.take(async () => {
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
    await this.turns.take(async () => {
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

  /** Take the last stroke back, with all that came of it. */
  takeBack(): Promise<void> {
    this.adaptation = null
    return this.undo()
  }

  /** Leave undone what was not done. */
  drop(): void {
    this.conflict = null
    this.onchange()
  }

  show(showing: Showing): void {
    if (this.adaptation) this.adaptation.showing = showing
    this.onchange()
  }

  async cancel(): Promise<void> {
    if (!this.busy || this.busy.stopping) return
    this.busy.stopping = true
    this.outbox.take()
    this.onchange()
    await this.api.cancel(this.state.id).catch(() => {})
  }

  act(kind: string, body: object = {}): Promise<void> {
    return this.turns.take(async () => void (await this.perform(kind, body)))
  }

  /** Load what is not here yet of objects as they stand. */
  async refresh(): Promise<void> {
    try {
      await this.load(this.state)
      this.onchange()
    } catch (error) {
      if (!isRefused(error, 412)) throw error
      await this.surprised() // which loads what there is now
    }
  }

  private load({ objects, current }: SessionState): Promise<void> {
    const wanted: [ObjectInfo, What][] = objects.map((object) => [object, 'mask'])
    const worked = objects.find((object) => object.name === current)
    if (worked) wanted.push([worked, 'scribbles'])
    if (worked && this.map) wanted.push([worked, this.map])
    return this.patches.load(wanted, objects.length)
  }

  /** Others were faster: show what they did, all of it at once, and offer what was not done for it. */
  private async surprised(kind = '', body: object = {}): Promise<void> {
    const before = this.state
    const object = this.current?.name ?? null
    this.adaptation = null
    try {
      this.state = await this.fetched()
    } finally {
      for (let number = before.number + 1; number <= this.state.number; number++) this.foreign.add(number)
      this.turns.drop() // what was asked for until now was for what was on the screen before
      const told = news(before.objects, this.state.objects)
      const conflict = notDone(kind, body, this.outbox.take(), object, told)
      if (conflict) this.conflict = conflict
      this.onerror(`${told} ${conflict ? lost(conflict) : 'This is how it is now.'}`)
      this.onchange()
    }
  }

  /** The session as others made it, its arrays too. */
  private async fetched(): Promise<SessionState> {
    for (;;) {
      const state = await this.api.session(this.state.id)
      try {
        await this.load(state)
        return state
      } catch (error) {
        if (!isRefused(error, 412)) throw error // else they were faster once more
      }
    }
  }

  private async adapt(kind: string, strokes: Stroke[], body?: object, sent?: Sending): Promise<void> {
    const object = this.current
    const before = object && this.patch(object, 'mask')
    this.adaptation = null
    const asked = body ?? (kind === 'refine' ? {} : { scribbles: { strokes } })
    const done = await this.perform(kind, asked, sent)
    const { current } = this
    const after = current && this.patch(current, 'mask')
    if (!done?.changed || !object || !before || !after) return
    const made = adaptation(object.name, this.axes, before, after, [object.voxels, current.voxels], strokes)
    if (kind !== 'resize' || made.alarm) this.adaptation = made
    this.onchange()
  }

  private async perform(kind: string, body: object, sent?: Sending): Promise<Done | null> {
    const since = performance.now()
    this.adaptation = null
    const sending = sent ?? { key: newKey(), kind, body, at: this.state.number }
    this.outbox.send(sending)
    this.busy = { kind, since, round: 0, queued: 0, stopping: false }
    this.onchange()
    try {
      const done = await this.api.act(this.state.id, kind, body, {
        round: (told) => this.progress({ round: told.round }),
        queued: (queued) => this.progress({ queued }),
        at: sending.at,
        key: sending.key,
      })
      this.state = { ...this.state, ...standing(done) }
      await this.refresh()
      this.outbox.answered()
      this.last = { kind, seconds: done.seconds, total: (performance.now() - since) / 1000 }
      return done
    } catch (error) {
      if (!isRefused(error, 401)) this.outbox.answered() // who has to come in anew has it done then
      if (!isRefused(error, 412)) throw error
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

function standing({ number, objects, current, can_undo, can_redo, undoes }: Done): Partial<SessionState> {
  return { number, objects, current, can_undo, can_redo, undoes }
}
