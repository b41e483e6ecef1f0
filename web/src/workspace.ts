// One session on the screen: model, slices, tools and panel put together.

import { type Api, ApiError, type ImageInfo, type Measure, type SessionState } from './api.ts'
import type { Box, Vec3 } from './axes.ts'
import { PALETTE, probability, type Ramp, uncertainty, weights } from './colours.ts'
import { askText, confirmIn, showExport, showHelp, showReport } from './dialogs.ts'
import { h } from './dom.ts'
import { type Icon, icon } from './icons.ts'
import { type Key, listen } from './keys.ts'
import { Model } from './model.ts'
import { Panel, time } from './panel.ts'
import type { Layout, Look, MapKind, Prefs, Seen } from './prefs.ts'
import { Stage } from './stage.ts'
import { elsewhere, type Tool, Tools } from './tools.ts'
import { across, type Plane, type Preset, presets, Volume } from './volume.ts'

const RAMPS: Record<Exclude<MapKind, 'none'>, Ramp> = { probability, uncertainty, weights }
const MAPS: MapKind[] = ['none', 'probability', 'uncertainty', 'weights']
const LAYOUTS: [Layout, string][] = [
  ['four', 'All'],
  ['axial', 'Axial'],
  ['coronal', 'Coronal'],
  ['sagittal', 'Sagittal'],
  ['render', '3D'],
]
const TOOLS: [Tool, string, string][] = [
  ['navigate', 'Navigate', 'V'],
  ['box', 'Box', 'B'],
  ['brush', 'Brush', 'P'],
  ['line', 'Line', 'L'],
  ['click', 'Click', 'C'],
  ['erase', 'Eraser', 'E'],
]
const BRUSHES = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16]
const DONE: Record<string, string> = {
  box: 'Segmented',
  scribble: 'Adapted',
  refine: 'Refined',
  resize: 'Begun anew',
  propagate: 'Carried on',
  undo: 'Undone',
  redo: 'Redone',
  reject: 'Rejected',
}

export class Workspace {
  readonly element: HTMLElement
  private readonly model: Model
  private readonly stage: Stage
  private readonly tools: Tools
  private readonly panel: Panel
  private readonly seen: Seen
  private readonly presets: Preset[]
  private readonly unlisten: () => void
  private readonly toolbar = h('div', {
    class: 'tools',
    role: 'toolbar',
    'aria-label': 'Tools',
    'aria-orientation': 'vertical',
  })
  private readonly place = h('span', { class: 'place' })
  private readonly doing = h('span', { class: 'doing', role: 'status' })
  private readonly stop = h('button', { type: 'button', hidden: true, onclick: () => this.model.cancel() }, 'Cancel')
  private readonly kept = h('span', { class: 'kept' })
  private readonly header = h('div', { class: 'moves' })
  private draft: { box: Box; plane: Plane } | null = null
  private measures = new Map<string, Measure>()
  private measured = ''
  private pressed = 0

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
    this.tools = new Tools(this.stage, {
      drawn: (box, plane) => this.drawn(box, plane),
      adjusted: (box) => this.adjusted(box),
      stroke: (points, label) => this.stroke(points, label),
      refusal: (plane) => this.refusal(plane),
      say,
    })
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
      begin: () => this.begin(),
      discard: () => this.discard(),
      typed: (box) => this.typed(box),
      look: (change) => this.look(change),
      window: (low, high) => this.stage.setWindow({ low, high }),
    })
    this.element = h(
      'main',
      { class: 'workspace' },
      this.toolbar,
      this.stage.element,
      this.panel.element,
      h('footer', { class: 'status' }, this.place, this.doing, this.stop, this.kept),
    )
    this.model.onchange = () => this.update()
    this.model.onerror = say
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
    workspace.model.refresh().catch((error: unknown) => say(error instanceof Error ? error.message : String(error)))
    return workspace
  }

  get title(): string {
    return this.model.state.title || 'untitled'
  }

  /** Buttons for the page's header. */
  get headerElement(): HTMLElement {
    return this.header
  }

  close(): void {
    this.unlisten()
    this.stage.close()
    this.prefs.save(this.model.state.id)
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
        colour: PALETTE[this.seen.colours[root] ?? k % PALETTE.length] ?? '#e69f00',
        fill: prefs.look.opacity,
        current: object === current,
        before: old,
      }
    })
    const map = current && prefs.look.map !== 'none' ? model.patch(current, prefs.look.map) : null
    scene.map =
      map && prefs.look.map !== 'none'
        ? { name: prefs.look.map, patch: map, ramp: RAMPS[prefs.look.map], opacity: prefs.look.mapOpacity }
        : null
    const handles = this.tools.tool === 'navigate' || this.tools.tool === 'box'
    const box = this.draft?.box ?? (handles ? model.box : null)
    scene.box = box && { box, draft: this.draft !== null }
    this.stage.draw()
    this.stage.drawRender()
    this.measure()
    this.panel.update()
    this.updateHeader()
    this.updateToolbar()
    this.updateStatus()
  }

  private surroundings() {
    return {
      look: this.prefs.look,
      seen: this.seen,
      presets: this.presets,
      window: this.stage.scene.window,
      draft: this.draft?.box ?? null,
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

  private updateHeader(): void {
    const { model } = this
    const button = (sign: Icon, label: string, keys: string, run: () => void, disabled = false) =>
      h(
        'button',
        {
          type: 'button',
          class: 'icon-button',
          title: `${label} (${keys})`,
          'aria-label': label,
          disabled,
          onclick: run,
        },
        icon(sign),
      )
    const layouts = this.stage.scene.planar
      ? []
      : LAYOUTS.map(([layout, label], k) =>
          h(
            'button',
            {
              type: 'button',
              title: `${label} (${k + 1})`,
              'aria-pressed': String(this.stage.layout === layout),
              onclick: () => this.look({ layout }),
            },
            label,
          ),
        )
    const key = JSON.stringify([model.state.can_undo, model.state.can_redo, this.stage.layout])
    if (this.header.dataset.key === key) return
    this.header.dataset.key = key
    const focused =
      document.activeElement instanceof HTMLElement && this.header.contains(document.activeElement)
        ? document.activeElement.title
        : ''
    this.header.replaceChildren(
      h(
        'div',
        { class: 'group' },
        button('undo', 'Undo', 'Ctrl+Z', () => this.model.undo(), !model.state.can_undo),
        button('redo', 'Redo', 'Ctrl+Shift+Z', () => this.model.redo(), !model.state.can_redo),
      ),
      h('div', { class: 'group layouts', role: 'group', 'aria-label': 'Views' }, ...layouts),
      h(
        'div',
        { class: 'group' },
        button('save', 'Export', 'Ctrl+S', () => this.export()),
        button('report', 'Report', 'I', () => showReport(this.api, model.state.id)),
        button('help', 'Help', '?', () => this.help()),
      ),
    )
    for (const element of this.header.querySelectorAll('button'))
      if (focused && element.title === focused) element.focus()
  }

  private updateToolbar(): void {
    const { tool, label, radius } = this.tools
    const key = `${tool} ${label} ${radius} ${this.prefs.look.dimension}`
    if (this.toolbar.dataset.key === key) return
    this.toolbar.dataset.key = key
    const focused =
      document.activeElement && this.toolbar.contains(document.activeElement)
        ? document.activeElement.getAttribute('data-key')
        : null
    const buttons = TOOLS.map(([name, title, shortcut]) =>
      h(
        'button',
        {
          type: 'button',
          title: `${title} (${shortcut})`,
          'aria-pressed': String(name === tool),
          'data-key': name,
          onclick: () => this.pick(name),
        },
        icon(name),
        h('span', {}, title),
      ),
    )
    const choice = (name: string, text: string, title: string, checked: boolean, run: () => void) =>
      h(
        'button',
        {
          type: 'button',
          class: `choice ${name}`,
          title,
          'aria-pressed': String(checked),
          'data-key': name,
          onclick: run,
        },
        text,
      )
    const options: (Node | false)[] = [
      tool === 'box' &&
        !this.stage.scene.planar &&
        h(
          'div',
          { class: 'options', role: 'group', 'aria-label': 'Dimension' },
          choice('two', '2D', 'Box in one slice (2)', this.prefs.look.dimension === 2, () =>
            this.look({ dimension: 2 }),
          ),
          choice('three', '3D', 'Box in a volume', this.prefs.look.dimension === 3, () => this.look({ dimension: 3 })),
        ),
      ['brush', 'line', 'click'].includes(tool) &&
        h(
          'div',
          { class: 'options', role: 'group', 'aria-label': 'What is painted' },
          choice('foreground', 'Object', 'Foreground (F)', label === 1, () => this.paint(1)),
          choice('background', 'Not it', 'Background (G)', label === 2, () => this.paint(2)),
        ),
      ['brush', 'line', 'click', 'erase'].includes(tool) &&
        h(
          'div',
          { class: 'options size', role: 'group', 'aria-label': 'Size of the brush' },
          choice('smaller', '−', 'Smaller ([)', false, () => this.resizeBrush(-1)),
          h('output', {}, this.diameter()),
          choice('larger', '+', 'Larger (])', false, () => this.resizeBrush(1)),
        ),
    ]
    this.toolbar.replaceChildren(...buttons, ...options.filter((option): option is Node => Boolean(option)))
    if (focused) this.toolbar.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus()
  }

  private diameter(): string {
    const { planar, volume } = this.stage.scene
    const across = 2 * this.tools.radius * Math.min(...volume.spacing)
    if (this.tools.radius === 0) return '1 voxel'
    return planar ? `${2 * this.tools.radius} px` : `${across < 10 ? across.toFixed(1) : across.toFixed(0)} mm`
  }

  private updateStatus(): void {
    const { busy, last, state } = this.model
    this.stop.hidden = !busy || busy.stopping
    const rounds = busy?.round ? `, round ${busy.round}` : ''
    const queued = busy?.queued ? `, ${busy.queued} before it` : ''
    const text = busy
      ? busy.stopping
        ? 'Cancelling …'
        : `Computing${queued}${rounds} …`
      : last
        ? `${DONE[last.kind] ?? 'Done'} in ${time(last.total)} (${time(last.seconds)} of computing)`
        : ''
    if (this.doing.textContent !== text) this.doing.textContent = text
    this.element.toggleAttribute('data-busy', busy !== null)
    const kept = state.number ? `Saved · step ${state.number}` : 'Nothing to save yet'
    if (!busy && this.kept.textContent !== kept) this.kept.textContent = kept
  }

  private moved(): void {
    const { scene } = this.stage
    const { cursor, volume } = scene
    const file = this.model.axes.toFile(cursor)
    const value = volume.at(cursor)
    this.place.textContent = `${file.join(', ')} · ${Number.isInteger(value) ? value : value.toPrecision(4)}`
    this.seen.cursor = [...cursor]
    this.seen.window = scene.window
    this.prefs.save(this.model.state.id)
    this.panel.update()
  }

  /** How long it took from the end of a stroke, or whatever was asked for, until its mask was on the screen. */
  private onScreen(): void {
    if (!this.pressed || this.model.busy || !this.model.last) return
    performance.measure(`bifseg-${this.model.last.kind}`, { start: this.pressed, end: performance.now() })
    this.pressed = 0
  }

  // ---- boxes

  private drawn(box: Box, plane: Plane): void {
    if (across(plane).some((k) => box.stop[k] - box.start[k] < 2)) {
      this.say('That box is thinner than two voxels; draw a larger one.')
      return
    }
    if (this.stage.scene.planar || this.prefs.look.dimension === 2) {
      this.start(box)
    } else if (this.draft && this.draft.plane !== plane) {
      box.start[plane] = this.draft.box.start[plane]
      box.stop[plane] = this.draft.box.stop[plane]
      this.start(box)
    } else {
      this.draft = { box: this.deepened(box, plane), plane }
      this.update()
    }
  }

  /** A rectangle with a guess of its depth: as deep as it is wide, on average, around this slice. */
  private deepened(box: Box, plane: Plane): Box {
    const { spacing, shape } = this.stage.scene.volume
    const [u, v] = across(plane)
    const side = ((box.stop[u] - box.start[u]) * spacing[u] + (box.stop[v] - box.start[v]) * spacing[v]) / 2
    const half = Math.max(1, Math.round(side / spacing[plane] / 2))
    const middle = this.stage.scene.cursor[plane]
    box.start[plane] = Math.max(0, middle - half)
    box.stop[plane] = Math.min(shape[plane], middle + half + 1)
    return box
  }

  private async start(box: Box): Promise<void> {
    this.draft = null
    this.pressed = performance.now()
    await this.model.begin(box)
    this.lookInto()
    if (this.tools.tool === 'box') this.pick('brush')
  }

  private begin(): void {
    if (this.draft) this.start(this.draft.box)
  }

  private discard(): void {
    this.draft = null
    this.update()
  }

  private adjusted(box: Box): void {
    if (this.draft) {
      this.draft = { ...this.draft, box }
      this.update()
    } else if (!this.refuseLocked()) {
      this.pressed = performance.now()
      this.model.resize(box)
    }
  }

  /** A box in file voxels, by its numbers. */
  private typed(fileBox: Box): void {
    const { shape } = this.model.image
    const wrong = ([0, 1, 2] as const).find(
      (k) => !(fileBox.start[k] >= 0 && fileBox.stop[k] <= shape[k] && fileBox.start[k] < fileBox.stop[k]),
    )
    if (wrong !== undefined) {
      this.say(
        `Along ${'xyz'[wrong]} the box goes from ${fileBox.start[wrong]} to ${fileBox.stop[wrong] - 1}; it must lie between 0 and ${shape[wrong] - 1}, the first number not above the second.`,
      )
      return
    }
    this.adjusted(this.model.axes.boxToCanonical(fileBox))
  }

  /** A box around the crosshair, for the keyboard: a quarter of the scan, to be moved by its numbers or handles. */
  private boxHere(): void {
    const { shape } = this.stage.scene.volume
    const { cursor, planar } = this.stage.scene
    const pane = this.pane()
    const flat = planar || this.prefs.look.dimension === 2
    const box: Box = { start: [0, 0, 0], stop: [1, 1, 1] }
    for (const k of [0, 1, 2] as const) {
      const half = flat && k === pane.plane ? 0 : Math.max(1, Math.round(shape[k] / 8))
      box.start[k] = Math.max(0, cursor[k] - half)
      box.stop[k] = Math.min(shape[k], cursor[k] + half + 1)
    }
    this.draft = { box, plane: pane.plane }
    this.update()
    this.panel.element.querySelector('details')?.setAttribute('open', '')
  }

  // ---- strokes

  private refusal(plane: Plane): string | null {
    const { model } = this
    if (this.draft) return 'Segment the box first (Enter), or discard it (Esc).'
    const { box, current } = model
    if (!current || !box) return 'Draw a box around the object first (B).'
    if (this.seen.locked.includes(model.rootOf(current))) return this.lockedSentence()
    const thin = ([0, 1, 2] as const).find((k) => box.stop[k] - box.start[k] === 1)
    if (thin !== undefined && (thin !== plane || this.stage.scene.cursor[thin] !== box.start[thin])) {
      return elsewhere(thin, box.start[thin])
    }
    return null
  }

  private async stroke(points: Vec3[], label: 0 | 1 | 2): Promise<void> {
    const { model } = this
    const { box } = model
    if (!box) return
    const { shape } = this.stage.scene.volume
    const inScan = points.map((point) => clamped(point, [0, 0, 0], shape))
    const leaves = inScan.some((point) =>
      ([0, 1, 2] as const).some((k) => Math.round(point[k]) < box.start[k] || Math.round(point[k]) >= box.stop[k]),
    )
    const radius = this.tools.radius
    this.pressed = performance.now()
    if (label === 1 && leaves) {
      const stroke = { points: inScan.map((point) => model.axes.toFile(point)), label, radius }
      await model.extend(this.around(box, inScan), stroke)
      return
    }
    const inBox = inScan.map((point) => model.axes.toFile(clamped(point, box.start, box.stop)))
    await model.scribble({ points: inBox, label, radius })
  }

  /** A box that holds a stroke, too, with some room. */
  private around(box: Box, points: Vec3[]): Box {
    const { shape, spacing } = this.stage.scene.volume
    const wider: Box = { start: [...box.start], stop: [...box.stop] }
    for (const k of [0, 1, 2] as const) {
      if (box.stop[k] - box.start[k] === 1) continue // stays a plane
      const room = 2 + Math.ceil((this.tools.radius * Math.min(...spacing)) / spacing[k])
      const places = points.map((point) => Math.round(point[k]))
      if (Math.min(...places) < box.start[k]) wider.start[k] = Math.max(0, Math.min(...places) - room)
      if (Math.max(...places) >= box.stop[k]) wider.stop[k] = Math.min(shape[k], Math.max(...places) + room + 1)
    }
    return wider
  }

  /** A click of the keyboard, at the crosshair. */
  private clickHere(): void {
    const reason = this.refusal(this.pane().plane)
    if (reason) this.say(reason)
    else this.stroke([[...this.stage.scene.cursor]], this.tools.tool === 'erase' ? 0 : this.tools.label)
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
    for (const k of [0, 1, 2] as const) {
      const inside = voxel[k] >= box.start[k] && voxel[k] < box.stop[k]
      if (!inside) voxel[k] = Math.floor((box.start[k] + box.stop[k]) / 2)
    }
    this.stage.moveTo(voxel)
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

  private lockedSentence(): string {
    const { current } = this.model
    return `${current ? this.model.rootOf(current) : 'The object'} is locked; unlock it in the list (K).`
  }

  private refuseLocked(): boolean {
    const { current } = this.model
    const locked = current !== null && this.seen.locked.includes(this.model.rootOf(current))
    if (locked) this.say(this.lockedSentence())
    return locked
  }

  private recolour(name: string): void {
    const k = this.model.roots.findIndex((object) => object.name === name)
    this.seen.colours[name] = ((this.seen.colours[name] ?? k % PALETTE.length) + 1) % PALETTE.length
    this.prefs.save(this.model.state.id)
    this.update()
  }

  private async propagate(step: 1 | -1): Promise<void> {
    if (this.model.planeAxis === null || this.stage.scene.planar) {
      this.say('Only an object in one slice can be carried to the next; this one is not.')
      return
    }
    this.pressed = performance.now()
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
      this.say(error instanceof ApiError ? error.message : String(error))
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
      this.model.refresh().catch((error: unknown) => this.say(String(error)))
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

  private confirm(): void {
    if (this.draft) this.begin()
    else if (this.model.adaptation) this.model.accept()
  }

  private escape(): void {
    if (this.tools.abandon()) return
    if (this.model.busy) this.model.cancel()
    else if (this.draft) this.discard()
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
      key('Space', 'Paint, or erase, at the crosshair', () => this.clickHere()),
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
      key('I', 'Report of what was done', () => showReport(this.api, model.state.id)),
      key('?', 'This help', () => this.help()),
    ]
  }
}

function clamped(point: Vec3, start: Vec3, stop: Vec3): Vec3 {
  const inside: Vec3 = [...point]
  for (const k of [0, 1, 2] as const) inside[k] = Math.max(start[k], Math.min(stop[k] - 1, point[k]))
  return inside
}

function whatOf(map: MapKind): Exclude<MapKind, 'none'> | null {
  return map === 'none' ? null : map
}
