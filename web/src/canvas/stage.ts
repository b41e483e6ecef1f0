// The slices side by side and the rendering beside them; which part of the scan they show, and how.

import { h } from '../elements/dom.ts'
import { ALL, type Axes, type Box, type Vec3 } from '../scan/axes.ts'
import { across, type Plane, type Volume, type Window } from '../scan/volume.ts'
import type { Layout } from '../session/prefs.ts'
import { Pane } from './pane.ts'
import { Render } from './render.ts'
import type { Scene } from './scene.ts'

const PLANES: Plane[] = [2, 1, 0] // axial first
const LAYOUTS: Record<Layout, Plane | null> = { four: null, render: null, axial: 2, coronal: 1, sagittal: 0 }
const ZOOM = { least: 0.25, most: 40 }

export class Stage {
  readonly scene: Scene
  readonly panes: Pane[]
  readonly element: HTMLElement
  /** Called after the place or the window changed. */
  onmove: () => void = () => {}
  /** Called when a frame has been drawn. */
  ondrawn: () => void = () => {}
  /** Called when the 3D view is to be as large as it goes, or as it was. */
  onenlarge: () => void = () => {}
  layout: Layout = 'four'
  private readonly render: Render | null = null
  private asked = 0
  private readonly observer: ResizeObserver

  /** `oriented`: whether right and left are known of the scan; `calibrated`: whether its spacing is in millimetres. */
  constructor(volume: Volume, axes: Axes, known: { planar: boolean; oriented: boolean; calibrated: boolean }) {
    const { planar } = known
    const middle: Vec3 = [0, 0, 0]
    for (const k of ALL) middle[k] = Math.floor(volume.shape[k] / 2)
    this.scene = {
      volume,
      window: volume.first,
      inverted: false,
      cursor: middle,
      centre: centreOf(volume),
      zoom: 1,
      smooth: true,
      crosshair: true,
      objects: [],
      changes: null,
      map: null,
      box: null,
      handles: false,
      stroke: null,
      pending: [],
      measurements: [],
      measurement: null,
      brush: null,
      ...known,
      numbered: (plane, index) => axes.numberOf(plane, index),
    }
    const flat = planar ? PLANES.filter((plane) => axes.shape[plane] === 1).slice(0, 1) : PLANES
    this.panes = flat.map((plane) => new Pane(plane, this.scene, (index) => this.turn(plane, index)))
    this.element = h('div', { class: 'stage' }, ...this.panes.map((pane) => pane.element))
    if (!planar) {
      this.render = new Render(this.scene, () => this.onenlarge())
      this.element.append(this.render.element)
    }
    this.observer = new ResizeObserver(() => this.draw())
    for (const pane of this.panes) this.observer.observe(pane.element)
    this.arrange('four')
  }

  /** Which slices are to be seen. */
  arrange(layout: Layout): void {
    this.layout = this.scene.planar ? 'four' : layout
    const single = LAYOUTS[this.layout]
    for (const pane of this.panes) {
      pane.element.hidden = this.layout === 'render' || (single !== null && pane.plane !== single)
    }
    this.element.dataset.layout = this.scene.planar ? 'single' : this.layout
    if (this.render) this.render.element.hidden = single !== null
    this.draw()
    this.drawRender()
  }

  /** Draw in the next frame; any number of calls before it are one. */
  draw(): void {
    this.asked ||= requestAnimationFrame(() => {
      this.asked = 0
      for (const pane of this.panes) if (!pane.element.hidden) pane.draw()
      this.ondrawn()
    })
  }

  /** Show masks in the rendering, where it is to be seen. */
  drawRender(): void {
    if (this.render && !this.render.element.hidden) this.render.show(this.scene.objects)
  }

  moveTo(voxel: Vec3): void {
    const { shape } = this.scene.volume
    for (const k of ALL) {
      this.scene.cursor[k] = Math.max(0, Math.min(shape[k] - 1, Math.round(voxel[k])))
    }
    this.moved()
  }

  /** Go to a slice. */
  turn(plane: Plane, index: number): void {
    const voxel: Vec3 = [...this.scene.cursor]
    voxel[plane] = index
    this.moveTo(voxel)
  }

  scroll(plane: Plane, steps: number): void {
    const voxel: Vec3 = [...this.scene.cursor]
    voxel[plane] += steps
    this.moveTo(voxel)
  }

  /** Zoom so that what lies under a place of a pane stays there. */
  zoomAt(pane: Pane, x: number, y: number, factor: number): void {
    const before = pane.toVoxel(x, y)
    this.scene.zoom = Math.max(ZOOM.least, Math.min(ZOOM.most, this.scene.zoom * factor))
    const after = pane.toVoxel(x, y)
    for (const k of across(pane.plane)) this.scene.centre[k] += before[k] - after[k]
    this.moved()
  }

  pan(pane: Pane, dx: number, dy: number): void {
    const [u, v] = across(pane.plane)
    const { spacing } = this.scene.volume
    this.scene.centre[u] += dx / (spacing[u] * pane.scale)
    this.scene.centre[v] += dy / (spacing[v] * pane.scale)
    this.moved()
  }

  /** All of the scan, in the middle. */
  fit(): void {
    this.scene.zoom = 1
    this.scene.centre = centreOf(this.scene.volume)
    this.moved()
  }

  /** A box in the middle, and not too small. */
  lookAt(box: Box): void {
    const middle: Vec3 = [0, 0, 0]
    for (const k of ALL) middle[k] = (box.start[k] + box.stop[k] - 1) / 2
    this.scene.centre = [...middle]
    this.moveTo(middle)
  }

  setWindow(window: Window): void {
    this.scene.window = { ...window, high: Math.max(window.low + 1e-6, window.high) }
    for (const pane of this.panes) pane.forget()
    this.moved()
  }

  /** What is to be seen, as one picture. */
  async figure(): Promise<Blob> {
    const ratio = window.devicePixelRatio || 1
    const stage = this.element.getBoundingClientRect()
    const canvas = new OffscreenCanvas(Math.round(stage.width * ratio), Math.round(stage.height * ratio))
    const context = canvas.getContext('2d')
    if (!context) throw new Error('This browser draws no picture.')
    context.fillRect(0, 0, canvas.width, canvas.height)
    for (const source of [...this.panes.map((pane) => pane.canvas), this.render?.canvas]) {
      if (!source || source.closest('[hidden]')) continue
      const place = source.getBoundingClientRect()
      context.drawImage(
        source,
        (place.left - stage.left) * ratio,
        (place.top - stage.top) * ratio,
        place.width * ratio,
        place.height * ratio,
      )
    }
    return canvas.convertToBlob({ type: 'image/png' })
  }

  close(): void {
    this.observer.disconnect()
    cancelAnimationFrame(this.asked)
    this.render?.close()
  }

  private moved(): void {
    this.draw()
    this.onmove()
  }
}

function centreOf(volume: Volume): Vec3 {
  return [(volume.shape[0] - 1) / 2, (volume.shape[1] - 1) / 2, (volume.shape[2] - 1) / 2]
}
