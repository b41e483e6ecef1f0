// What the slices are to show of a session.

import { PALETTE, probability, type Ramp, uncertainty, weights } from '../canvas/colours.ts'
import type { Scene } from '../canvas/scene.ts'
import type { Drawing } from '../tools/drawing.ts'
import type { Model } from './model.ts'
import { colourOf, type Look, type MapKind, type Seen } from './prefs.ts'
import { whatOf } from './view.ts'

const RAMPS: Record<Exclude<MapKind, 'none'>, Ramp> = { probability, uncertainty, weights }

/** Put a session into the scene; `painting`: a brush is in the hand. */
export function compose(scene: Scene, model: Model, drawing: Drawing, look: Look, seen: Seen, painting: boolean): void {
  const { current, adaptation } = model
  scene.objects = model.state.objects.flatMap((object) => {
    const root = model.rootOf(object)
    const mask = model.patch(object, 'mask')
    if (!mask || seen.hidden.includes(root)) return []
    const old = adaptation?.object === object.name && adaptation.showing === 'before'
    const k = model.roots.findIndex((one) => one.name === root)
    return {
      root,
      mask: old ? adaptation.before : mask,
      scribbles: model.patch(object, 'scribbles'),
      colour: PALETTE[colourOf(seen, root, k)] ?? '#e69f00',
      fill: look.opacity,
      current: object === current,
      before: old,
    }
  })
  scene.changes = adaptation?.showing === 'changes' ? adaptation.changes : null
  const name = whatOf(look.map)
  const patch = current && name && model.patch(current, name)
  scene.map = patch && { name, patch, ramp: RAMPS[name], opacity: look.mapOpacity }
  const { draft, opening } = drawing
  const box = draft?.box ?? (opening ? null : model.box)
  scene.box = box && { box, drawn: draft?.plane ?? null }
  scene.handles = draft !== null || !painting
  scene.pending = drawing.pending.map((stroke) => ({
    ...stroke,
    points: stroke.points.map((point) => model.axes.toCanonical(point)),
  }))
}
