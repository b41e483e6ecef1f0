// How a session is looked at, and which tool is in the hand.

import type { Stage } from '../canvas/stage.ts'
import type { Vec3 } from '../scan/axes.ts'
import { across, type Plane } from '../scan/volume.ts'
import { sentenceOf } from '../server/errors.ts'
import { radiusFor, resized } from '../tools/brush_size.ts'
import type { Tool, Tools } from '../tools/gestures.ts'
import type { Model } from './model.ts'
import type { Layout, Look, MapKind, Prefs, Seen } from './prefs.ts'

const LAYOUT_OF: Record<Plane, Layout> = { 0: 'sagittal', 1: 'coronal', 2: 'axial' }

export class View {
  /** `changed`: is called when something else is to be seen. */
  constructor(
    private readonly model: Model,
    private readonly stage: Stage,
    private readonly tools: Tools,
    private readonly prefs: Prefs,
    private readonly seen: Seen,
    private readonly changed: () => void,
    private readonly say: (sentence: string) => void,
  ) {}

  look(change: Partial<Look>): void {
    this.prefs.choose(this.model.state.id, change)
    const { look } = this.prefs
    Object.assign(this.stage.scene, seenAs(look))
    if (change.layout) this.stage.arrange(change.layout)
    if (change.map) {
      this.model.map = whatOf(change.map)
      this.model.refresh().catch((error: unknown) => this.say(sentenceOf(error)))
    }
    this.changed()
  }

  enlarge(plane: Plane): void {
    if (this.stage.scene.planar) this.stage.fit()
    else this.look({ layout: this.stage.layout === 'four' ? LAYOUT_OF[plane] : 'four' })
  }

  pick(tool: Tool): void {
    this.tools.abandon()
    this.tools.tool = tool
    for (const pane of this.stage.panes) pane.canvas.style.cursor = tool === 'navigate' ? 'default' : 'crosshair'
    this.changed()
  }

  paint(label: 1 | 2): void {
    this.tools.label = label
    if (!['brush', 'line', 'click'].includes(this.tools.tool)) this.pick('brush')
    this.changed()
  }

  resizeBrush(step: 1 | -1): void {
    this.tools.radius = resized(this.tools.radius, step)
    this.look({ brush: this.tools.radius })
  }

  /** The brush that was chosen for this scan, else one that fits the box. */
  fitBrush(): void {
    const { box } = this.model
    this.tools.radius =
      this.seen.own.brush ?? (box ? radiusFor(box, this.stage.scene.volume.spacing) : this.prefs.look.brush)
  }

  /** The slice that the keyboard means. */
  pane() {
    const { panes } = this.stage
    const visible = panes.filter((pane) => !pane.element.hidden)
    const focused = visible.find((pane) => pane.canvas === document.activeElement)
    const pane = focused ?? visible[0] ?? panes[0]
    if (!pane) throw new Error('There is no slice to be seen.')
    return pane
  }

  step(across_: -1 | 0 | 1, down: -1 | 0 | 1, size = 1): void {
    const voxel: Vec3 = [...this.stage.scene.cursor]
    const [u, v] = across(this.pane().plane)
    voxel[u] -= across_ * size
    voxel[v] -= down * size
    this.stage.moveTo(voxel)
  }

  zoom(factor: number): void {
    const pane = this.pane()
    this.stage.zoomAt(pane, pane.element.clientWidth / 2, pane.element.clientHeight / 2, factor)
  }
}

/** What of it the slices themselves show. */
export function seenAs({ smooth, crosshair, inverted }: Look): Pick<Look, 'smooth' | 'crosshair' | 'inverted'> {
  return { smooth, crosshair, inverted }
}

/** The array that a map shows. */
export function whatOf(map: MapKind): Exclude<MapKind, 'none'> | null {
  return map === 'none' ? null : map
}
