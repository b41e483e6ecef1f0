// One session on the screen: model, slices, tools and panel put together.

import { Stage } from './canvas/stage.ts'
import { h } from './elements/dom.ts'
import { askOutside, confirmIn, showReport } from './panels/dialogs.ts'
import { showExport } from './panels/exports.ts'
import { Guide } from './panels/guide.ts'
import { Panel } from './panels/panel.ts'
import { Status } from './panels/status.ts'
import { teaching } from './panels/teaching.ts'
import { Topbar, type Turning } from './panels/topbar.ts'
import { bringAll, bringSlices } from './scan/arrival.ts'
import { Axes, type Box, type Vec3 } from './scan/axes.ts'
import { flattened, readingOf } from './scan/reading.ts'
import { type Preset, presets, Volume } from './scan/volume.ts'
import type { Api } from './server/api.ts'
import { sentenceOf } from './server/errors.ts'
import type { ImageInfo, MeasureInfo, SessionState } from './server/types.ts'
import { compose } from './session/composition.ts'
import { Measurements } from './session/measurements.ts'
import { Model } from './session/model.ts'
import { Objects } from './session/objects.ts'
import type { Prefs, Seen } from './session/prefs.ts'
import { inWords, when } from './session/report.ts'
import { Tasks } from './session/tasks.ts'
import { seenAs, View, whatOf } from './session/view.ts'
import { watch } from './session/watch.ts'
import { commandsOf } from './tools/commands.ts'
import { Drawing } from './tools/drawing.ts'
import { type Tool, Tools } from './tools/gestures.ts'
import { listen } from './tools/keys.ts'
import { shortcuts } from './tools/shortcuts.ts'
import { Toolbar } from './tools/toolbar.ts'

const PAINTING: Tool[] = ['brush', 'line', 'click', 'erase']

export class Workspace {
  readonly element: HTMLElement
  private readonly model: Model
  private readonly stage: Stage
  private readonly tools: Tools
  private readonly drawing: Drawing
  private readonly objects: Objects
  private readonly view: View
  private readonly measurements: Measurements
  private readonly tasks: Tasks
  private readonly panel: Panel
  private readonly guide: Guide
  private readonly toolbar: Toolbar
  private readonly topbar: Topbar
  private readonly status: Status
  private readonly seen: Seen
  private readonly presets: Preset[]
  private readonly stops: (() => void)[]
  /** Whether the scan is one picture. */
  private readonly planar: boolean
  private measures = new Map<string, MeasureInfo>()
  private measured = ''
  private readonly leaving = new AbortController()
  /** All of the scan is here. */
  private whole: Promise<void> = Promise.resolve()

  private constructor(
    private readonly api: Api,
    private readonly image: ImageInfo,
    state: SessionState,
    private readonly volume: Volume,
    private readonly prefs: Prefs,
    say: (sentence: string) => void,
    turning: Turning | null,
  ) {
    this.seen = prefs.open(state.id, volume.display.inverted)
    this.presets = presets(volume)
    this.planar = image.shape.includes(1)
    this.model = new Model(api, image, state)
    this.model.map = whatOf(prefs.look.map)
    const known = { planar: this.planar, oriented: !image.planar, calibrated: image.calibrated }
    this.stage = new Stage(volume, this.model.axes, known)
    this.objects = new Objects(this.model, this.stage, {
      seen: this.seen,
      prefs,
      changed: () => this.update(),
      say,
    })
    this.drawing = new Drawing(this.model, this.stage, {
      look: prefs.look,
      locked: () => this.objects.locked(),
      changed: () => this.update(),
      begun: () => this.begun(),
      growing: (partly) => askOutside(partly),
      pointed: (voxel) => this.pointed(voxel),
      enlarged: (plane) => this.view.enlarge(plane),
      keepMeasurement: (measurement) => this.measurements.keep(measurement),
      say,
    })
    this.measurements = new Measurements(this.stage, this.seen, () => this.measurementsChanged())
    this.tools = new Tools(this.stage, this.drawing, say)
    this.drawing.tools = this.tools
    this.view = new View(this.model, this.stage, this.tools, prefs, this.seen, () => this.update(), say)
    const { objects, drawing, model, measurements } = this
    this.tasks = new Tasks(api, model, prefs, () => this.update(), say)
    const teach = teaching(this.tasks, model, api, () => this.panel.update())
    this.panel = new Panel(model, this.planar, this.tasks, () => this.surroundings(), {
      select: (name) => objects.select(name),
      rename: (name) => objects.rename(name),
      remove: (name) => objects.remove(name),
      hide: (name) => objects.hide(name),
      lock: (name) => objects.lock(name),
      recolour: (name) => objects.recolour(name),
      propagate: (step) => this.propagate(step),
      carry: (range) => void objects.carry(range),
      interpolate: () => void objects.interpolate(),
      tidy: (rules) => void model.act('tidy', rules),
      lookNext: () => objects.lookNext(),
      refine: () => model.refine(),
      typed: (box) => drawing.typed(box),
      look: (change) => this.view.look(change),
      window: (window) => this.stage.setWindow(window),
      goTo: (measurement) => measurements.goTo(measurement),
      removeMeasurement: (measurement) => measurements.remove(measurement),
      removeMeasurements: () => measurements.clear(),
      ...teach,
    })
    this.guide = new Guide(model, this.planar, {
      begin: () => drawing.begin(),
      beginByStrokes: () => drawing.beginByStrokes(),
      discard: () => drawing.discard(),
    })
    const finest = image.calibrated ? Math.min(...volume.spacing) : null
    const commands = commandsOf({
      ...this.parts,
      propagate: (step) => this.propagate(step),
      export: () => this.export(),
      report: () => showReport(api, state.id, image),
      finish: () => teach.finish(),
      turn: (step) => (turning ? turning.turn(step) : say('This scan is in no list.')),
    })
    this.toolbar = new Toolbar(this.tools, prefs.look, this.planar, finest, {
      pick: (tool) => this.view.pick(tool),
      paint: (label) => this.view.paint(label),
      resizeBrush: (step) => this.view.resizeBrush(step),
      dimension: (dimension) => this.view.look({ dimension }),
    })
    this.topbar = new Topbar(this.planar, commands, turning)
    this.status = new Status(model)
    this.element = h(
      'main',
      { class: 'workspace' },
      this.toolbar.element,
      this.stage.element,
      this.guide.element,
      this.panel.element,
      this.status.element,
    )
    model.onchange = () => this.update()
    model.onerror = (sentence) => {
      drawing.ended = 0
      say(sentence)
    }
    model.onforeign = (step) =>
      confirmIn(
        'Undo a step of another window',
        `The last step was not done here: ${inWords(step)}, ${when(step.created)}.`,
        'Undo it',
      )
    this.stage.onenlarge = () => this.view.look({ layout: this.stage.layout === 'four' ? 'render' : 'four' })
    this.stage.onmove = () => this.moved()
    this.stage.ondrawn = () => this.onScreen()
    this.stops = [listen(shortcuts(commands)), watch(api, state.id, (number) => model.heard(number))]
    this.restore()
  }

  private get parts() {
    const { model, stage, objects, drawing, prefs, view, tools, measurements, panel } = this
    return { model, stage, objects, drawing, prefs, view, tools, measurements, panel: panel.element }
  }

  /** Open a session with the slices that are seen first; the rest of its scan, and its masks, come then. */
  static async open(
    api: Api,
    id: string,
    prefs: Prefs,
    say: (sentence: string) => void,
    turning: Turning | null,
  ): Promise<Workspace> {
    const state = await api.session(id)
    const [image, display] = await Promise.all([api.image(state.image), api.display(state.image)])
    const axes = new Axes(image.shape, image.axes)
    const geometry = { shape: axes.shape, spacing: axes.spacing(image.spacing), coloured: image.colours }
    const volume = new Volume(geometry, display)
    const workspace = new Workspace(api, image, state, volume, prefs, say, turning)
    const { model } = workspace
    await workspace.arrive(say)
    model
      .refresh()
      .then(() => model.resume())
      .then(() => workspace.tasks.load())
      .catch((error: unknown) => say(sentenceOf(error)))
    return workspace
  }

  /** Resolves when all of the scan is here. */
  get arrived(): Promise<void> {
    return this.whole
  }

  /** Bring the slices on the screen, and begin to bring all others. */
  private async arrive(say: (sentence: string) => void): Promise<void> {
    const { volume, stage, leaving, status } = this
    const fetch = (box: Box) => this.api.canonical(this.image.key, box, leaving.signal)
    const { cursor } = stage.scene
    await bringSlices(volume, fetch, cursor)
    const arrived = () => {
      stage.draw()
      status.arrived(volume.share)
      if (volume.share === 1) this.moved() // there is a value now
    }
    arrived()
    this.whole = bringAll(volume, fetch, () => stage.scene.cursor, arrived, leaving.signal)
    this.whole.catch((error: unknown) => leaving.signal.aborted || say(sentenceOf(error)))
  }

  get title(): string {
    return this.model.state.title || 'untitled'
  }

  /** Buttons for the page's header. */
  get headerElement(): HTMLElement {
    return this.topbar.element
  }

  close(): void {
    this.leaving.abort()
    for (const stop of this.stops) stop()
    this.tasks.close()
    this.stage.close()
    this.prefs.write()
  }

  private restore(): void {
    const { look } = this.prefs
    Object.assign(this.stage.scene, seenAs(look))
    if (this.seen.window) this.stage.scene.window = this.seen.window
    if (this.seen.cursor) this.stage.moveTo(this.seen.cursor)
    else if (this.model.box) this.stage.lookAt(this.model.box)
    this.stage.arrange(look.layout)
    this.view.fitBrush()
    this.view.pick(this.model.current ? 'navigate' : 'box')
  }

  // ---- showing

  private update(): void {
    const { model, drawing, tools } = this
    compose(this.stage.scene, model, drawing, this.prefs.look, this.seen, PAINTING.includes(tools.tool))
    this.stage.draw()
    this.stage.drawRender()
    this.measure()
    this.panel.update()
    this.guide.update(drawing.draft?.box ?? null, this.prefs.look.dimension, PAINTING.includes(tools.tool))
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
      suvMissing: this.volume.display.suv_missing,
      draft: this.drawing.draft?.box ?? null,
      measurements: this.measurements.read,
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
        this.measures = new Map(list.map((one) => [one.name, flattened(one, this.image)]))
        this.panel.update()
      })
      .catch(() => {
        this.measured = '' // sizes in voxels stay
      })
  }

  private moved(): void {
    const { scene } = this.stage
    const { cursor, volume } = scene
    this.status.at(this.model.axes.toFile(cursor), readingOf(volume, cursor))
    this.seen.cursor = [...cursor]
    this.seen.window = scene.window
    this.prefs.save(this.model.state.id)
    this.panel.update()
  }

  private pointed(voxel: Vec3 | null): void {
    const here = voxel?.map(Math.round) as Vec3 | undefined
    const inScan = here?.every((value, k) => value >= 0 && value < (this.volume.shape[k] ?? 0))
    if (here && inScan) this.status.under(this.model.axes.toFile(here), readingOf(this.volume, here))
    else this.status.under(null, '')
  }

  /** How long it took from the end of a stroke, or of a box, until its mask was on the screen. */
  private onScreen(): void {
    const { drawing, model } = this
    if (!drawing.ended || model.busy || !model.last) return
    performance.measure(`bifseg-${model.last.kind}`, { start: drawing.ended, end: performance.now() })
    drawing.ended = 0
  }

  /** A new object is there: show it, and go on with the brush. */
  private begun(): void {
    this.objects.lookInto()
    this.view.fitBrush()
    if (this.tools.tool === 'box') this.view.pick('brush')
  }

  private measurementsChanged(): void {
    this.prefs.save(this.model.state.id)
    this.update()
  }

  private propagate(step: 1 | -1): void {
    this.drawing.ended = performance.now()
    void this.objects.propagate(step)
  }

  /** What is exported is what is to be seen: all that was drawn is in it, and nothing that others did unseen. */
  private async export(): Promise<void> {
    const { model } = this
    await Promise.all([model.settled, this.whole])
    if (model.adaptation) model.show('after')
    const { state, image } = model
    const hidden = model.roots.map((object) => object.name).filter((name) => this.seen.hidden.includes(name))
    showExport(this.api, state, image, hidden, () => this.stage.figure())
  }
}
