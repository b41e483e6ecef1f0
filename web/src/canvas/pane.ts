// One slice on the screen: where its voxels lie, and in which order things are drawn.

import { h } from '../elements/dom.ts'
import type { Box, Vec3 } from '../scan/axes.ts'
import { across, type Plane } from '../scan/volume.ts'
import { drawBox, drawBrush, drawCrosshair, drawLetters, drawStrokes } from './marks.ts'
import { Masks } from './masks.ts'
import { drawMeasurements } from './measurements.ts'
import { PLANE_NAMES, type Scene } from './scene.ts'

const KEPT = 24 // pictures of slices

/** Where a pointer meets the box: which of its two sides along each axis across the slice it would move. */
export type Grip = { axis: 0 | 1 | 2; side: 'start' | 'stop' }[]

export class Pane {
  readonly canvas = h('canvas', { tabindex: 0, role: 'img' })
  readonly slider: HTMLInputElement
  readonly element: HTMLElement
  private readonly context: CanvasRenderingContext2D
  private readonly masks: Masks
  private readonly pictures = new Map<string, OffscreenCanvas>()
  private ratio = 1
  private readonly layer = new OffscreenCanvas(1, 1)
  private layered: unknown[] = []

  /** `scrolled`: the slider was moved to this slice. */
  constructor(
    readonly plane: Plane,
    readonly scene: Scene,
    scrolled: (index: number) => void,
  ) {
    const context = this.canvas.getContext('2d', { alpha: false })
    if (!context) throw new Error('This browser draws no 2D canvas.')
    this.context = context
    this.masks = new Masks(context)
    this.slider = h('input', {
      type: 'range',
      class: 'slices',
      min: 0,
      max: scene.volume.shape[plane] - 1,
      step: 1,
      tabindex: -1, // PageUp and PageDown do the same
      hidden: scene.planar,
      'aria-label': `Slice, ${PLANE_NAMES[plane].toLowerCase()}`,
      oninput: () => scrolled(this.slider.valueAsNumber),
    })
    this.element = h('div', { class: 'pane' }, this.canvas, this.slider)
  }

  /** Forget pictures of the scan, because its window or the scan itself is another. */
  forget(): void {
    this.layered = []
    this.pictures.clear()
  }

  get index(): number {
    return this.scene.cursor[this.plane]
  }

  // ---- where things lie

  /** CSS pixels per millimetre. */
  get scale(): number {
    const [u, v] = across(this.plane)
    const { shape, spacing } = this.scene.volume
    const { clientWidth, clientHeight } = this.element
    return (
      this.scene.zoom * 0.96 * Math.min(clientWidth / (shape[u] * spacing[u]), clientHeight / (shape[v] * spacing[v]))
    )
  }

  /** A canonical voxel (fractions allowed) in CSS pixels of this pane. */
  toScreen(voxel: Vec3): [number, number] {
    const [u, v] = across(this.plane)
    const { spacing } = this.scene.volume
    const scale = this.scale
    return [
      this.element.clientWidth / 2 + (this.scene.centre[u] - voxel[u]) * spacing[u] * scale,
      this.element.clientHeight / 2 + (this.scene.centre[v] - voxel[v]) * spacing[v] * scale,
    ]
  }

  /** The canonical voxel under a place in this pane, in this slice; fractions, and possibly outside the scan. */
  toVoxel(x: number, y: number): Vec3 {
    const [u, v] = across(this.plane)
    const { spacing } = this.scene.volume
    const scale = this.scale
    const voxel: Vec3 = [...this.scene.cursor]
    voxel[u] = this.scene.centre[u] - (x - this.element.clientWidth / 2) / (spacing[u] * scale)
    voxel[v] = this.scene.centre[v] - (y - this.element.clientHeight / 2) / (spacing[v] * scale)
    return voxel
  }

  /** The sides of the box that a pointer there would move; null where it would move none. */
  grip(x: number, y: number, reach: number): Grip | null {
    const box = this.scene.box?.box
    if (!box || this.index < box.start[this.plane] || this.index >= box.stop[this.plane]) return null
    const [left, top, right, bottom] = this.corners(box)
    const [u, v] = across(this.plane)
    if (x < left - reach || x > right + reach || y < top - reach || y > bottom + reach) return null
    const grip: Grip = []
    if (Math.abs(x - left) <= reach) grip.push({ axis: u, side: 'stop' })
    else if (Math.abs(x - right) <= reach) grip.push({ axis: u, side: 'start' })
    if (Math.abs(y - top) <= reach) grip.push({ axis: v, side: 'stop' })
    else if (Math.abs(y - bottom) <= reach) grip.push({ axis: v, side: 'start' })
    return grip.length ? grip : null
  }

  /** A box's left, top, right and bottom in CSS pixels. */
  corners(box: Box): [number, number, number, number] {
    const low = this.toScreen([box.stop[0] - 0.5, box.stop[1] - 0.5, box.stop[2] - 0.5])
    const high = this.toScreen([box.start[0] - 0.5, box.start[1] - 0.5, box.start[2] - 0.5])
    return [low[0], low[1], high[0], high[1]]
  }

  // ---- drawing

  draw(): void {
    const { clientWidth: width, clientHeight: height } = this.element
    if (!width || !height) return
    this.ratio = window.devicePixelRatio || 1
    const [w, hh] = [Math.round(width * this.ratio), Math.round(height * this.ratio)]
    if (this.canvas.width !== w || this.canvas.height !== hh) {
      this.canvas.width = w
      this.canvas.height = hh
    }
    const { context: c, scene } = this
    c.setTransform(1, 0, 0, 1, 0, 0)
    this.drawLayer(w, hh)
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0)
    drawStrokes(c, this)
    drawBrush(c, this)
    drawBox(c, this)
    if (scene.crosshair) drawCrosshair(c, this)
    drawMeasurements(c, this)
    drawLetters(c, this)
    this.describe()
  }

  /** The scan and what lies on its voxels: drawn anew only where that changed, else as it was. */
  private drawLayer(width: number, height: number): void {
    const { context: c, layer, scene } = this
    const { map, changes, objects } = scene
    const seen = [
      ...[width, height, this.index, scene.window, scene.inverted, scene.zoom, ...scene.centre, scene.smooth],
      ...[map?.patch, map?.name, map?.opacity, changes, scene.volume.arrived],
      ...objects.flatMap((one) => [one.mask, one.scribbles, one.colour, one.fill, one.current, one.before]),
    ]
    if (seen.length === this.layered.length && seen.every((value, k) => value === this.layered[k])) {
      c.drawImage(layer, 0, 0)
      return
    }
    c.fillStyle = '#000'
    c.fillRect(0, 0, width, height)
    this.onPicture(() => this.drawPicture())
    Object.assign(layer, { width, height })
    layer.getContext('2d', { alpha: false })?.drawImage(this.canvas, 0, 0)
    this.layered = seen
  }

  private drawPicture(): void {
    const { context: c, scene, masks, plane, index } = this
    c.imageSmoothingEnabled = scene.smooth
    c.imageSmoothingQuality = 'high'
    c.drawImage(this.picture(), 0, 0)
    c.imageSmoothingEnabled = false
    const { map } = scene
    if (map) masks.map(map.patch.cut(plane, index), map.name, map.ramp, map.opacity)
    for (const shown of scene.objects) {
      masks.object(shown.mask.cut(plane, index), shown, this.ratio)
      if (shown.current && shown.scribbles) masks.scribbles(shown.scribbles.cut(plane, index))
    }
    if (scene.changes) masks.changes(scene.changes, plane, index)
  }

  /** Draw in the picture's pixels. */
  private onPicture(draw: () => void): void {
    const [u, v] = across(this.plane)
    const { shape, spacing } = this.scene.volume
    const [x, y] = this.toScreen([shape[0] - 0.5, shape[1] - 0.5, shape[2] - 0.5])
    const scale = this.scale * this.ratio
    this.context.setTransform(spacing[u] * scale, 0, 0, spacing[v] * scale, x * this.ratio, y * this.ratio)
    draw()
  }

  private picture(): OffscreenCanvas {
    const { volume, window: grey, inverted } = this.scene
    const key = `${this.index} ${grey.low} ${grey.high} ${inverted} ${volume.arrived}`
    const known = this.pictures.get(key)
    if (known) return known
    if (this.pictures.size > KEPT) this.pictures.clear()
    const picture = volume.picture(this.plane, this.index, grey, inverted)
    const canvas = new OffscreenCanvas(picture.width, picture.height)
    canvas.getContext('2d')?.putImageData(picture, 0, 0)
    this.pictures.set(key, canvas)
    return canvas
  }

  private describe(): void {
    const { shape } = this.scene.volume
    const name = this.scene.planar
      ? 'Image'
      : `${PLANE_NAMES[this.plane]} slice ${this.scene.numbered(this.plane, this.index)} of ${shape[this.plane]}`
    if (this.canvas.getAttribute('aria-label') !== name) this.canvas.setAttribute('aria-label', name)
    if (this.slider.valueAsNumber !== this.index) this.slider.value = String(this.index)
  }
}
