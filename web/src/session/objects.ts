// What is done to objects as a whole: chosen, named, hidden, locked, coloured, carried on.

import { PALETTE } from '../canvas/colours.ts'
import type { Stage } from '../canvas/stage.ts'
import { askRange, askText } from '../panels/dialogs.ts'
import { ALL, parseBox, type Vec3 } from '../scan/axes.ts'
import { sentenceOf } from '../server/errors.ts'
import type { LabelInfo, PlaceInfo } from '../server/types.ts'
import type { Model } from './model.ts'
import { colourOf, type Prefs, type Seen } from './prefs.ts'

export interface Surrounding {
  seen: Seen
  prefs: Prefs
  /** What is to be seen has changed. */
  changed(): void
  say(sentence: string): void
}

export class Objects {
  private places: { list: PlaceInfo[]; next: number; version: string } | null = null

  constructor(
    private readonly model: Model,
    private readonly stage: Stage,
    private readonly around: Surrounding,
  ) {}

  select(name: string): void {
    const { model } = this
    if (model.current && model.rootOf(model.current) === name) this.lookAt()
    else model.act('select', { name }).then(() => this.lookAt())
  }

  async rename(name: string): Promise<void> {
    const { labels } = await this.model.api.server()
    const to = await askText('Rename the object', 'Name', name, labels)
    if (!to || to === name) return
    await this.model.act('rename', { name, to })
    const { prefs } = this.around
    if (this.model.state.objects.some((object) => object.name === to)) {
      prefs.renamed(this.model.state.id, name, to)
      const colour = usualColour(to, labels)
      if (colour !== null) this.around.seen.colours[to] = colour
    }
    this.around.changed()
  }

  /** Undo brings it back, so nobody is asked. */
  async remove(name: string): Promise<void> {
    await this.model.act('remove', { name })
    if (!this.model.state.objects.some((object) => object.name === name)) {
      this.around.say(`${name} was removed; undo (Ctrl+Z) brings it back.`)
    }
  }

  hide(name: string): void {
    this.toggle(this.around.seen.hidden, name)
  }

  /** The object worked on can be locked by hand; all others are, and unlocking one is to work on it. */
  lock(name: string): void {
    const { model } = this
    const { seen } = this.around
    if (model.current && model.rootOf(model.current) === name) {
      this.toggle(seen.locked, name)
      return
    }
    if (seen.locked.includes(name)) this.toggle(seen.locked, name)
    this.select(name)
  }

  /** Why the object worked on may not change, or null. */
  locked(): string | null {
    const name = this.current
    return name && this.around.seen.locked.includes(name) ? `${name} is locked; unlock it in the list (K).` : null
  }

  /** The name of the object worked on. */
  get current(): string | null {
    const { current } = this.model
    return current && this.model.rootOf(current)
  }

  recolour(name: string): void {
    const { seen, prefs } = this.around
    const k = this.model.roots.findIndex((object) => object.name === name)
    seen.colours[name] = (colourOf(seen, name, k) + 1) % PALETTE.length
    prefs.save(this.model.state.id)
    this.around.changed()
  }

  async propagate(step: 1 | -1): Promise<void> {
    if (this.model.planeAxis === null || this.stage.scene.planar) {
      this.around.say('Only an object in one slice can be carried to the next; this one is not.')
      return
    }
    await this.model.act('propagate', { to: this.neighbour(step) })
    this.lookInto()
  }

  /** Through all slices until the object ends, or those that are asked for. */
  async carry(range: boolean): Promise<void> {
    const { model } = this
    const axis = model.planeAxis
    if (axis === null || !model.current) return
    let to: [number, number] | 'end' = 'end'
    if (range) {
      const asked = await askRange(parseBox(model.current.box).start[axis] + 1, model.image.shape[axis])
      if (!asked) return
      to = [asked[0] - 1, asked[1]]
    }
    const before = model.partsOf(this.current ?? '').length
    await model.act('propagate', { to })
    const more = model.partsOf(this.current ?? '').length - before
    this.around.say(more > 0 ? `Carried through ${more} more ${more === 1 ? 'slice' : 'slices'}.` : 'It ends here.')
    this.lookInto()
  }

  async interpolate(): Promise<void> {
    await this.model.act('interpolate')
    this.lookInto()
  }

  async lookNext(): Promise<void> {
    try {
      const place = await this.nextPlace()
      if (!place) {
        this.around.say(this.model.current ? 'The network is sure everywhere in the box.' : 'There is no object yet.')
        return
      }
      this.stage.scene.centre = [...place]
      this.stage.moveTo(place)
    } catch (error) {
      this.around.say(sentenceOf(error))
    }
  }

  /** The places where most uncertainty is gathered, one after the other. Canonical voxels. */
  private async nextPlace(): Promise<Vec3 | null> {
    const { model } = this
    const { current } = model
    if (!current) return null
    if (this.places?.version !== current.version) {
      const list = await model.api.places(model.state.id, current.name)
      this.places = { list, next: 0, version: current.version }
    }
    const place = this.places.list[this.places.next++ % Math.max(1, this.places.list.length)]
    return place ? model.axes.toCanonical(place.voxel) : null
  }

  /** The file plane beside the current one: `step` slices towards the canonical end. */
  private neighbour(step: 1 | -1): number {
    const { model } = this
    const axis = model.planeAxis ?? 0
    const forwards = (model.image.axes.find((one) => Math.abs(one) === axis + 1) ?? 1) > 0
    return parseBox(model.current?.box ?? '').start[axis] + (forwards ? step : -step)
  }

  /** The object worked on in the middle. */
  lookAt(): void {
    if (this.model.box) this.stage.lookAt(this.model.box)
  }

  /** Slices that pass the object by go to its middle; the others stay. */
  lookInto(): void {
    const { box } = this.model
    if (!box) return
    const voxel: Vec3 = [...this.stage.scene.cursor]
    for (const k of ALL) {
      const inside = voxel[k] >= box.start[k] && voxel[k] < box.stop[k]
      if (!inside) voxel[k] = Math.floor((box.start[k] + box.stop[k]) / 2)
    }
    this.stage.moveTo(voxel)
  }

  private toggle(list: string[], name: string): void {
    const place = list.indexOf(name)
    if (place >= 0) list.splice(place, 1)
    else list.push(name)
    this.around.prefs.save(this.model.state.id)
    this.around.changed()
  }
}

/** The colour that goes with a name, in any case and with or without a number after it; null for another name. */
export function usualColour(name: string, labels: LabelInfo[]): number | null {
  const plain = name
    .trim()
    .replace(/\s+/g, ' ')
    .toLowerCase()
    .replace(/[\s_#-]*\d+$/, '')
  const place = PALETTE.indexOf(labels.find((label) => label.name === plain)?.colour ?? '')
  return place < 0 ? null : place
}
