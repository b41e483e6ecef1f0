// What hands draw becomes interactions: a box that is to be, the box that there is, strokes.

import type { Stage } from '../canvas/stage.ts'
import { ALL, type Box, type Vec3 } from '../scan/axes.ts'
import { holds, inside } from '../scan/clip.ts'
import type { Measurement } from '../scan/measurement.ts'
import { across, type Plane } from '../scan/volume.ts'
import type { Stroke } from '../server/types.ts'
import type { Model } from '../session/model.ts'
import type { Look } from '../session/prefs.ts'
import { elsewhere, type Tools } from './gestures.ts'

/** What drawing needs to know of the session around it, and whom it tells. */
export interface Around {
  look: Look
  /** Why the object worked on may not change, or null. */
  locked(): string | null
  /** What is to be seen has changed. */
  changed(): void
  /** A new object is there. */
  begun(): void
  say(sentence: string): void
  /** Whether the box shall grow around a stroke that leaves it; `partly`: some of the stroke lies inside. */
  growing(partly: boolean): Promise<'grow' | 'inside' | null>
  /** A place is under the pointer, or none. */
  pointed(voxel: Vec3 | null): void
  keepMeasurement(measurement: Measurement): void
  /** A view is to be as large as it goes, or as it was. */
  enlarged(plane: Plane): void
}

export class Drawing {
  /** A box in 3D that is not segmented yet, and the plane in which it was drawn. */
  draft: { box: Box; plane: Plane } | null = null
  tools!: Tools
  /** When the last stroke or box ended, in the page's milliseconds; 0 once its mask is on the screen. */
  ended = 0
  /** A stroke of which it is asked whether the box shall grow around it. */
  private asked: Stroke | null = null

  constructor(
    private readonly model: Model,
    private readonly stage: Stage,
    private readonly around: Around,
  ) {}

  /** Strokes that no mask knows yet, in file voxels. */
  get pending(): Stroke[] {
    return [...this.model.pending, ...(this.asked ? [this.asked] : [])]
  }

  // ---- boxes

  drawn(box: Box, plane: Plane): void {
    if (across(plane).some((k) => box.stop[k] - box.start[k] < 2)) {
      this.around.say('That box is thinner than two voxels; draw a larger one.')
    } else if (this.opening?.length) {
      this.around.say('Segment what is painted first (Enter), or discard it (Esc).')
    } else if (this.stage.scene.planar || this.around.look.dimension === 2) {
      this.begin(box)
    } else if (this.draft && this.draft.plane !== plane) {
      box.start[plane] = this.draft.box.start[plane]
      box.stop[plane] = this.draft.box.stop[plane]
      this.begin(box)
    } else {
      this.draft = { box: this.deepened(box, plane), plane }
      this.around.changed()
    }
  }

  /** A new object from a box, or from the one that is to be. */
  async begin(box = this.draft?.box): Promise<void> {
    if (!box) return
    this.draft = null
    this.ended = performance.now()
    if (await this.model.begin(box)) this.around.begun()
  }

  discard(): void {
    this.draft = null
    this.open(null)
  }

  // ---- an object without a box

  /** Strokes that are to begin an object, in file voxels; null where none is begun so. A reload keeps them. */
  get opening(): readonly Stroke[] | null {
    return this.model.outbox.opening
  }

  /** What is painted next begins an object, with strokes so far; null: it does not. */
  open(strokes: Stroke[] | null = []): void {
    if (strokes) this.draft = null
    this.model.outbox.open(strokes)
    this.around.changed()
  }

  /** The object that the strokes so far begin. */
  async beginByStrokes(): Promise<void> {
    const strokes = [...(this.opening ?? [])]
    if (!strokes.some((stroke) => stroke.label === 1)) {
      this.around.say('Paint a line in the object first (F).')
      return
    }
    this.open(null)
    this.ended = performance.now()
    if (await this.model.begin(strokes)) this.around.begun()
    else if (!this.model.conflict) this.open(strokes)
  }

  /** Take back the last of the strokes that are to begin an object; whether there was one. */
  takeBack(): boolean {
    const { opening } = this
    if (opening?.length) this.open(opening.slice(0, -1))
    return Boolean(opening?.length)
  }

  /** Sides were pulled: of the box that is to be, or of the current object. */
  adjusted(box: Box): void {
    const locked = this.around.locked()
    if (this.draft) {
      this.draft = { ...this.draft, box }
      this.around.changed()
    } else if (locked) {
      this.around.say(locked)
    } else {
      this.ended = performance.now()
      this.model.resize(box)
    }
  }

  /** A box in file voxels, by its numbers. */
  typed(box: Box): void {
    const { shape } = this.model.image
    const wrong = ALL.find((k) => !(box.start[k] >= 0 && box.stop[k] <= shape[k] && box.start[k] < box.stop[k]))
    if (wrong === undefined) {
      this.adjusted(this.model.axes.boxToCanonical(box))
      return
    }
    const given = `from ${box.start[wrong]} to ${box.stop[wrong] - 1}`
    const possible = `it must lie between 0 and ${shape[wrong] - 1}, the first number not above the second`
    this.around.say(`Along ${'xyz'[wrong]} the box goes ${given}; ${possible}.`)
  }

  /** A box around the crosshair, for the keyboard: a quarter of the scan, to be moved by its numbers or handles. */
  here(plane: Plane): void {
    const { cursor, planar, volume } = this.stage.scene
    const flat = planar || this.around.look.dimension === 2
    const box: Box = { start: [0, 0, 0], stop: [1, 1, 1] }
    for (const k of ALL) {
      const half = flat && k === plane ? 0 : Math.max(1, Math.round(volume.shape[k] / 8))
      box.start[k] = Math.max(0, cursor[k] - half)
      box.stop[k] = Math.min(volume.shape[k], cursor[k] + half + 1)
    }
    this.draft = { box, plane }
    this.around.changed()
  }

  /** A rectangle with a guess of its depth: as deep as it is wide, on average, around this slice. */
  private deepened(box: Box, plane: Plane): Box {
    const { cursor, volume } = this.stage.scene
    const [u, v] = across(plane)
    const millimetres = (k: 0 | 1 | 2) => (box.stop[k] - box.start[k]) * volume.spacing[k]
    const half = Math.max(1, Math.round((millimetres(u) + millimetres(v)) / 4 / volume.spacing[plane]))
    box.start[plane] = Math.max(0, cursor[plane] - half)
    box.stop[plane] = Math.min(volume.shape[plane], cursor[plane] + half + 1)
    return box
  }

  pointed(voxel: Vec3 | null): void {
    this.around.pointed(voxel)
  }

  keepMeasurement(measurement: Measurement): void {
    this.around.keepMeasurement(measurement)
  }

  enlarged(plane: Plane): void {
    this.around.enlarged(plane)
  }

  // ---- strokes

  /** Why a stroke cannot begin in a slice of this plane, or null. */
  refusal(plane: Plane): string | null {
    const { opening } = this
    const { box } = this.model
    if (this.draft) return 'Segment the box first (Enter), or discard it (Esc).'
    if (opening || !box) return this.misplaced(plane)
    const thin = ALL.find((k) => box.stop[k] - box.start[k] === 1)
    const passed = thin !== undefined && (thin !== plane || this.stage.scene.cursor[thin] !== box.start[thin])
    return this.around.locked() ?? (passed ? elsewhere(thin, box.start[thin]) : null)
  }

  /** Why a stroke cannot be one of those that begin an object, or null: in 2D all lie in one slice. */
  private misplaced(plane: Plane): string | null {
    const [first] = this.opening ?? []
    const [point] = first?.points ?? []
    if (!point || this.stage.scene.planar || this.around.look.dimension === 3) return null
    const { cursor } = this.stage.scene
    const places = (first?.points ?? []).map((one) => Math.round(this.model.axes.toCanonical(one as Vec3)[plane]))
    if (places.every((place) => place === cursor[plane])) return null
    return 'An object in 2D lies in one slice: paint where you began, or choose 3D (D).'
  }

  /** A stroke in canonical voxels. What lies outside the box is nothing; unless it is the object's, and the box grows. */
  async stroke(points: Vec3[], label: 0 | 1 | 2): Promise<void> {
    const { opening } = this
    const { axes, box } = this.model
    const { radius } = this.tools
    const inScan = points.map((point) => clamped(point, this.stage.scene.volume.shape))
    const painted = (piece: Vec3[]): Stroke => ({ points: piece.map((point) => axes.toFile(point)), label, radius })
    if (opening || !box) {
      this.open([...(opening ?? []), painted(inScan)])
      return
    }
    const pieces = inside(box, inScan).map(painted)
    this.ended = performance.now()
    if (label === 1 && inScan.some((point) => !holds(box, point))) {
      const whole = painted(inScan)
      const wish = await this.askedWhether(whole, pieces.length > 0)
      if (wish === null) return
      this.ended = performance.now()
      if (wish === 'grow') {
        await this.model.extend(this.grown(box, inScan), whole)
        return
      }
    }
    if (pieces.length) await this.model.scribble(pieces)
    else this.around.say('That is outside the box, so nothing was painted.')
  }

  private async askedWhether(stroke: Stroke, partly: boolean): Promise<'grow' | 'inside' | null> {
    this.asked = stroke
    this.around.changed()
    try {
      return await this.around.growing(partly)
    } finally {
      this.asked = null
      this.around.changed()
    }
  }

  /** A click of the keyboard, at the crosshair. */
  click(plane: Plane): void {
    const reason = this.refusal(plane)
    if (reason) this.around.say(reason)
    else this.stroke([[...this.stage.scene.cursor]], this.tools.painted)
  }

  /** A box that holds a stroke, too, with some room. */
  private grown(box: Box, points: Vec3[]): Box {
    const { shape, spacing } = this.stage.scene.volume
    const wider: Box = { start: [...box.start], stop: [...box.stop] }
    for (const k of ALL) {
      if (box.stop[k] - box.start[k] === 1) continue // stays a plane
      const room = 2 + Math.ceil((this.tools.radius * Math.min(...spacing)) / spacing[k])
      const places = points.map((point) => Math.round(point[k]))
      if (Math.min(...places) < box.start[k]) wider.start[k] = Math.max(0, Math.min(...places) - room)
      if (Math.max(...places) >= box.stop[k]) wider.stop[k] = Math.min(shape[k], Math.max(...places) + room + 1)
    }
    return wider
  }
}

function clamped(point: Vec3, shape: Vec3): Vec3 {
  const inScan: Vec3 = [...point]
  for (const k of ALL) inScan[k] = Math.max(0, Math.min(shape[k] - 1, point[k]))
  return inScan
}
