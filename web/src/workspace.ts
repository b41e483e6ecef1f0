// One session on the screen: model, slices, tools and panel put together.

import { PALETTE, probability, type Ramp, uncertainty, weights } from './canvas/colours.ts'
import { Drawing } from './canvas/drawing.ts'
import { Stage } from './canvas/stage.ts'
import { h } from './elements/dom.ts'
import { askText, confirmIn, showExport, showHelp, showReport } from './panels/dialogs.ts'
import { Panel } from './panels/panel.ts'
import { Status } from './panels/status.ts'
import { LAYOUTS, Topbar } from './panels/topbar.ts'
import { ALL, type Vec3 } from './scan/axes.ts'
import { across, type Preset, presets, Volume } from './scan/volume.ts'
import type { Api } from './server/api.ts'
import { sentenceOf } from './server/errors.ts'
import type { ImageInfo, MeasureInfo, SessionState } from './server/types.ts'
import { Model } from './session/model.ts'
import { colourOf, type Look, type MapKind, type Prefs, type Seen } from './session/prefs.ts'
import { type Key, listen } from './tools/keys.ts'
import { TOOLS, Toolbar } from './tools/toolbar.ts'
import { type Tool, Tools } from './tools/tools.ts'

const RAMPS: Record<Exclude<MapKind, 'none'>, Ramp> = { probability, uncertainty, weights }
const MAPS: MapKind[] = ['none', 'probability', 'uncertainty', 'weights']
const BRUSHES = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16]

export class Workspace {
  readonly element: HTMLElement
  private readonly model: Model
  private readonly stage: Stage
  private readonly tools: Tools
  private readonly drawing: Drawing
  private readonly panel: Panel
  private readonly toolbar: Toolbar
  private readonly topbar: Topbar
  private readonly status: Status
  private readonly seen: Seen
  private readonly presets: Preset[]
  private readonly unlisten: () => void
  private measures = new Map<string, MeasureInfo>()
  private measured = ''

  private constructor(
    private readonly api: Api,
    image: ImageInfo,
    state: SessionState,
    volume: Volume,
    private readonly prefs: Prefs,
    private readonly say: (sentence: string) => void,
  ) {
    this.seen = prefs.seen(state.id)
    this.presets = presets(volume)
    this.model = new Model(api, image, state)
    this.model.map = whatOf(prefs.look.map)
    this.stage = new Stage(volume, this.model.axes, image.planar)
    this.drawing = new Drawing(this.model, this.stage, {
      look: prefs.look,
      locked: () => this.locked(),
      changed: () => this.update(),
      begun: () => this.begun(),
      say,
    })
    this.tools = new Tools(this.stage, this.drawing, say)
    this.drawing.tools = this.tools
    this.panel = new Panel(this.model, () => this.surroundings(), {
      select: (name) => this.select(name),
      rename: (name) => this.rename(name),
      remove: (name) => this.remove(name),
      hide: (name) => this.toggle(this.seen.hidden, name),
      lock: (name) => this.lock(name),
      recolour: (name) => this.recolour(name),
      propagate: (step) => this.propagate(step),
      lookNext: () => this.lookNext(),
      refine: () => this.model.refine(),
      begin: () => this.drawing.begin(),
      discard: () => this.drawing.discard(),
      typed: (box) => this.drawing.typed(box),
      look: (change) => this.look(change),
      window: (low, high) => this.stage.setWindow({ low, high }),
    })
    this.toolbar = new Toolbar(this.tools, prefs.look, image.planar, Math.min(...volume.spacing), {
      pick: (tool) => this.pick(tool),
      paint: (label) => this.paint(label),
      resizeBrush: (step) => this.resizeBrush(step),
      dimension: (dimension) => this.look({ dimension }),
    })
    this.topbar = new Topbar(image.planar, {
      undo: () => this.model.undo(),
      redo: () => this.model.redo(),
      arrange: (layout) => this.look({ layout }),
      export: () => this.export(),
      report: () => this.report(),
      help: () => this.help(),
    })
    this.status = new Status(this.model)
    this.element = h(
      'main',
      { class: 'workspace' },
      this.toolbar.element,
      this.stage.element,
      this.panel.element,
      this.status.element,
    )
    this.model.onchange = () => this.update()
    this.model.onerror = (sentence) => {
      this.drawing.ended = 0
      say(sentence)
    }
    this.stage.onmove = () => this.moved()
    this.stage.ondrawn = () => this.onScreen()
    this.unlisten = listen(this.keys())
    this.restore()
  }

  /** Load a session and its scan; `progress` hears which share of the scan is here. */
  static async open(
    api: Api,
    id: string,
    prefs: Prefs,
    say: (sentence: string) => void,
    progress: (share: number) => void,
  ): Promise<Workspace> {
    const state = await api.session(id)
    const image = await api.image(state.image)
    const volume = new Volume(await api.canonical(state.image, progress))
    const workspace = new Workspace(api, image, state, volume, prefs, say)
    workspace.model.refresh().catch((error: unknown) => say(sentenceOf(error)))
    return workspace
  }

  get title(): string {
    return this.model.state.title || 'untitled'
  }

  /** Buttons for the page's header. */
  get headerElement(): HTMLElement {
    return this.topbar.element
  }

  close(): void {
    this.unlisten()
    this.stage.close()
    this.prefs.write()
  }

  private restore(): void {
    const { look } = this.prefs
    this.tools.radius = look.brush
    Object.assign(this.stage.scene, { smooth: look.smooth, crosshair: look.crosshair })
    if (this.seen.window) this.stage.scene.window = this.seen.window
    if (this.seen.cursor) this.stage.moveTo(this.seen.cursor)
    else if (this.model.box) this.stage.lookAt(this.model.box)
    this.stage.arrange(look.layout)
    this.pick(this.model.current ? 'navigate' : 'box')
  }

  // ---- showing

  private update(): void {
    const { scene } = this.stage
    const { model, prefs } = this
    const current = model.current
    scene.objects = model.state.objects.flatMap((object) => {
      const root = model.rootOf(object)
      const mask = model.patch(object, 'mask')
      if (!mask || this.seen.hidden.includes(root)) return []
      const old = model.adaptation?.object === object.name && model.adaptation.showing === 'before'
      const k = model.roots.findIndex((one) => one.name === root)
      return {
        mask: old && model.adaptation ? model.adaptation.before : mask,
        scribbles: model.patch(object, 'scribbles'),
        colour: PALETTE[colourOf(this.seen, root, k)] ?? '#e69f00',
        fill: prefs.look.opacity,
        current: object === current,
        before: old,
      }
    })
    const name = whatOf(prefs.look.map)
    const patch = current && name && model.patch(current, name)
    scene.map = patch && { name, patch, ramp: RAMPS[name], opacity: prefs.look.mapOpacity }
    const handles = this.tools.tool === 'navigate' || this.tools.tool === 'box'
    const { draft } = this.drawing
    const box = draft?.box ?? (handles ? model.box : null)
    scene.box = box && { box, drawn: draft?.plane ?? null }
    this.stage.draw()
    this.stage.drawRender()
    this.measure()
    this.panel.update()
    this.toolbar.update()
    this.topbar.update(model.state.can_undo, model.state.can_redo, this.stage.layout)
    this.status.update()
    this.element.toggleAttribute('data-busy', model.busy !== null)
  }

  private surroundings() {
    return {
      look: this.prefs.look,
      seen: this.seen,
      presets: this.presets,
      window: this.stage.scene.window,
      mapped: this.stage.scene.map !== null,
      draft: this.drawing.draft?.box ?? null,
      measures: this.measures,
    }
  }

  private measure(): void {
    const { state, busy } = this.model
    const key = state.objects.map((object) => object.version).join(' ')
    if (busy || key === this.measured) return
    this.measured = key
    this.api
      .measures(state.id)
      .then((list) => {
        if (key !== this.measured) return
        this.measures = new Map(list.map((one) => [one.name, one]))
        this.panel.update()
      })
      .catch(() => {
        this.measured = '' // sizes in voxels stay
      })
  }

  private moved(): void {
    const { scene } = this.stage
    const { cursor, volume } = scene
    this.status.at(this.model.axes.toFile(cursor), volume.at(cursor))
    this.seen.cursor = [...cursor]
    this.seen.window = scene.window
    this.prefs.save(this.model.state.id)
    this.panel.update()
  }

  /** How long it took from the end of a stroke, or of a box, until its mask was on the screen. */
  private onScreen(): void {
    const { drawing, model } = this
    if (!drawing.ended || model.busy || !model.last) return
    performance.measure(`bifseg-${model.last.kind}`, { start: drawing.ended, end: performance.now() })
    drawing.ended = 0
  }

  // ---- objects

  private select(name: string): void {
    const { model } = this
    if (model.current && model.rootOf(model.current) === name) this.lookAtCurrent()
    else model.act('select', { name }).then(() => this.lookAtCurrent())
  }

  private lookAtCurrent(): void {
    if (this.model.box) this.stage.lookAt(this.model.box)
  }

  /** Slices that pass the current object by go to its middle; the others stay. */
  private lookInto(): void {
    const { box } = this.model
    if (!box) return
    const voxel: Vec3 = [...this.stage.scene.cursor]
    for (const k of ALL) {
      const inside = voxel[k] >= box.start[k] && voxel[k] < box.stop[k]
      if (!inside) voxel[k] = Math.floor((box.start[k] + box.stop[k]) / 2)
    }
    this.stage.moveTo(voxel)
  }

  /** A new object is there: show it, and go on with the brush. */
  private begun(): void {
    this.lookInto()
    if (this.tools.tool === 'box') this.pick('brush')
  }

  private async rename(name: string): Promise<void> {
    const to = await askText('Rename the object', 'Name', name)
    if (!to || to === name) return
    await this.model.act('rename', { name, to })
    if (this.model.state.objects.some((object) => object.name === to)) this.prefs.renamed(this.model.state.id, name, to)
    this.update()
  }

  private async remove(name: string): Promise<void> {
    if (await confirmIn('Remove the object', `${name} and its scribbles go; undo brings them back.`, 'Remove')) {
      await this.model.act('remove', { name })
    }
  }

  private toggle(list: string[], name: string): void {
    const place = list.indexOf(name)
    if (place >= 0) list.splice(place, 1)
    else list.push(name)
    this.prefs.save(this.model.state.id)
    this.update()
  }

  /** The object worked on can be locked by hand; all others are, and unlocking one is to work on it. */
  private lock(name: string): void {
    const { model } = this
    if (model.current && model.rootOf(model.current) === name) {
      this.toggle(this.seen.locked, name)
      return
    }
    if (this.seen.locked.includes(name)) this.toggle(this.seen.locked, name)
    this.select(name)
  }

  private locked(): string | null {
    const { current } = this.model
    const name = current && this.model.rootOf(current)
    return name && this.seen.locked.includes(name) ? `${name} is locked; unlock it in the list (K).` : null
  }

  private recolour(name: string): void {
    const k = this.model.roots.findIndex((object) => object.name === name)
    this.seen.colours[name] = (colourOf(this.seen, name, k) + 1) % PALETTE.length
    this.prefs.save(this.model.state.id)
    this.update()
  }

  private async propagate(step: 1 | -1): Promise<void> {
    if (this.model.planeAxis === null || this.stage.scene.planar) {
      this.say('Only an object in one slice can be carried to the next; this one is not.')
      return
    }
    this.drawing.ended = performance.now()
    await this.model.propagate(step)
    this.lookInto()
  }

  private async lookNext(): Promise<void> {
    try {
      const place = await this.model.lookNext()
      if (!place) {
        this.say(this.model.current ? 'The network is sure everywhere in the box.' : 'There is no object yet.')
        return
      }
      this.stage.scene.centre = [...place]
      this.stage.moveTo(place)
    } catch (error) {
      this.say(sentenceOf(error))
    }
  }

  // ---- view

  private look(change: Partial<Look>): void {
    Object.assign(this.prefs.look, change)
    this.prefs.save()
    const { look } = this.prefs
    Object.assign(this.stage.scene, { smooth: look.smooth, crosshair: look.crosshair })
    if (change.layout) this.stage.arrange(change.layout)
    if (change.map) {
      this.model.map = whatOf(change.map)
      this.model.refresh().catch((error: unknown) => this.say(sentenceOf(error)))
    }
    this.update()
  }

  private pick(tool: Tool): void {
    this.tools.abandon()
    this.tools.tool = tool
    for (const pane of this.stage.panes) pane.canvas.style.cursor = tool === 'navigate' ? 'default' : 'crosshair'
    this.update()
  }

  private paint(label: 1 | 2): void {
    this.tools.label = label
    if (!['brush', 'line', 'click'].includes(this.tools.tool)) this.pick('brush')
    this.update()
  }

  private resizeBrush(step: 1 | -1): void {
    const nearest = BRUSHES.findLastIndex((radius) => radius <= this.tools.radius)
    this.tools.radius = BRUSHES[Math.max(0, Math.min(BRUSHES.length - 1, nearest + step))] ?? 2
    this.look({ brush: this.tools.radius })
  }

  /** The slice that the keyboard means. */
  private pane() {
    const { panes } = this.stage
    const visible = panes.filter((pane) => !pane.element.hidden)
    const focused = visible.find((pane) => pane.canvas === document.activeElement)
    const pane = focused ?? visible[0] ?? panes[0]
    if (!pane) throw new Error('There is no slice to be seen.')
    return pane
  }

  private step(across_: -1 | 0 | 1, down: -1 | 0 | 1, size = 1): void {
    const voxel: Vec3 = [...this.stage.scene.cursor]
    const [u, v] = across(this.pane().plane)
    voxel[u] -= across_ * size
    voxel[v] -= down * size
    this.stage.moveTo(voxel)
  }

  private zoom(factor: number): void {
    const pane = this.pane()
    this.stage.zoomAt(pane, pane.element.clientWidth / 2, pane.element.clientHeight / 2, factor)
  }

  private export(): void {
    const { state, image } = this.model
    showExport(this.api, state.id, image, state.title, () => this.stage.figure())
  }

  private help(): void {
    const mouse = [
      { keys: 'Wheel', what: 'Scroll through slices; with Ctrl: zoom' },
      { keys: 'Right drag', what: 'Window: up and down for level, sideways for width' },
      { keys: 'Middle drag', what: 'Pan (also Ctrl and drag); two fingers zoom and pan' },
      { keys: 'Shift and paint', what: 'Paint the other kind of scribble' },
    ]
    showHelp([...mouse, ...this.keys().map(({ keys, what }) => ({ keys: keys.join(' or '), what }))])
  }

  private report(): void {
    showReport(this.api, this.model.state.id)
  }

  private boxHere(): void {
    this.drawing.here(this.pane().plane)
    this.panel.element.querySelector('details')?.setAttribute('open', '')
  }

  private confirm(): void {
    if (this.drawing.draft) this.drawing.begin()
    else if (this.model.adaptation) this.model.accept()
  }

  private escape(): void {
    if (this.tools.abandon()) return
    if (this.model.busy) this.model.cancel()
    else if (this.drawing.draft) this.drawing.discard()
    else this.pick('navigate')
  }

  private keys(): Key[] {
    const { model, stage } = this
    const key = (keys: string, what: string, run: () => void): Key => ({ keys: keys.split(' '), what, run })
    const cycle = () => MAPS[(MAPS.indexOf(this.prefs.look.map) + 1) % MAPS.length] ?? 'none'
    return [
      ...TOOLS.map(([tool, title, shortcut]) => key(shortcut, title, () => this.pick(tool))),
      key('F', 'Paint the object', () => this.paint(1)),
      key('G', 'Paint what is not the object', () => this.paint(2)),
      key('X', 'The other of the two', () => this.paint((3 - this.tools.label) as 1 | 2)),
      key('[', 'Smaller brush', () => this.resizeBrush(-1)),
      key(']', 'Larger brush', () => this.resizeBrush(1)),
      key('Space', 'Paint, or erase, at the crosshair', () => this.drawing.click(this.pane().plane)),
      key('Shift+B', 'A box around the crosshair', () => this.boxHere()),
      key('D', 'Boxes in 2D or in 3D', () => this.look({ dimension: this.prefs.look.dimension === 2 ? 3 : 2 })),
      key('Enter', 'Segment the box; keep an adaptation', () => this.confirm()),
      key('Escape', 'Cancel what is drawn or computed; discard a box', () => this.escape()),
      key('R', 'Reject an adaptation', () => model.reject()),
      key(
        'T',
        'Before and after an adaptation',
        () => model.adaptation && model.show(model.adaptation.showing === 'after' ? 'before' : 'after'),
      ),
      key('U', 'Look here next: where the network is least sure', () => this.lookNext()),
      key('Shift+R', 'Refine on', () => model.refine()),
      key('.', 'Carry a 2D object to the next slice', () => this.propagate(1)),
      key(',', 'Carry a 2D object to the previous slice', () => this.propagate(-1)),
      key('Ctrl+Z', 'Undo', () => model.undo()),
      key('Ctrl+Shift+Z Ctrl+Y', 'Redo', () => model.redo()),
      key('PageUp', 'Next slice', () => stage.scroll(this.pane().plane, 1)),
      key('PageDown', 'Previous slice', () => stage.scroll(this.pane().plane, -1)),
      key('ArrowLeft', 'Crosshair one voxel to the left; with Shift, ten', () => this.step(-1, 0)),
      key('ArrowRight', 'To the right', () => this.step(1, 0)),
      key('ArrowUp', 'Up', () => this.step(0, -1)),
      key('ArrowDown', 'Down', () => this.step(0, 1)),
      key('Shift+ArrowLeft', 'Ten voxels to the left', () => this.step(-1, 0, 10)),
      key('Shift+ArrowRight', 'Ten to the right', () => this.step(1, 0, 10)),
      key('Shift+ArrowUp', 'Ten up', () => this.step(0, -1, 10)),
      key('Shift+ArrowDown', 'Ten down', () => this.step(0, 1, 10)),
      key('+ =', 'Zoom in', () => this.zoom(1.25)),
      key('-', 'Zoom out', () => this.zoom(0.8)),
      key('0', 'All of the scan', () => stage.fit()),
      ...LAYOUTS.map(([layout, label], k) => key(String(k + 1), `View: ${label}`, () => this.look({ layout }))),
      key('M', 'Next map: probability, uncertainty, weights, none', () => this.look({ map: cycle() })),
      key('O', 'Masks filled or as outlines only', () =>
        this.look({ opacity: this.prefs.look.opacity > 0 ? 0 : 0.25 }),
      ),
      key(
        'H',
        'Hide or show the object worked on',
        () => model.current && this.toggle(this.seen.hidden, model.rootOf(model.current)),
      ),
      key('K', 'Lock or unlock it', () => model.current && this.toggle(this.seen.locked, model.rootOf(model.current))),
      key('Ctrl+S', 'Export', () => this.export()),
      key('I', 'Report of what was done', () => this.report()),
      key('?', 'This help', () => this.help()),
    ]
  }
}

function whatOf(map: MapKind): Exclude<MapKind, 'none'> | null {
  return map === 'none' ? null : map
}
