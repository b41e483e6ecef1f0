// One slice on the screen: the scan, what is known of objects, the box and the stroke that is being drawn.

import { h } from '../elements/dom.ts'
import type { Box, Vec3 } from '../scan/axes.ts'
import { type Cut, outline, type Patch } from '../scan/patch.ts'
import { across, type Plane, type Volume, type Window } from '../scan/volume.ts'
import { type Ramp, rgb, SCRIBBLE } from './colours.ts'

export const PLANE_NAMES = ['Sagittal', 'Coronal', 'Axial'] as const
const LETTERS = [
  ['R', 'L'],
  ['A', 'P'],
  ['S', 'I'],
] as const
const HANDLE = 5 // half a handle's side, in CSS pixels

/** What all slices draw, in canonical voxels. */
export interface Scene {
  volume: Volume
  window: Window
  cursor: Vec3
  centre: Vec3
  zoom: number
  smooth: boolean
  crosshair: boolean
  objects: Shown[]
  map: { name: string; patch: Patch; ramp: Ramp; opacity: number } | null
  /** `drawn`: the plane in which a box that is to be was drawn; null for the current object's. */
  box: { box: Box; drawn: Plane | null } | null
  stroke: { points: Vec3[]; label: 0 | 1 | 2; radius: number; plane: Plane } | null
  /** The brush where the pointer is, in CSS pixels of a pane. */
  brush: { plane: Plane; x: number; y: number; label: 0 | 1 | 2; radius: number } | null
  planar: boolean
}

/** An object as it is drawn; `fill` is the opacity of its inside. */
export interface Shown {
  mask: Patch
  scribbles: Patch | null
  colour: string
  fill: number
  current: boolean
  /** Drawn as what it was before an adaptation. */
  before: boolean
}

/** Where a pointer meets the box: which of its two sides along each axis across the slice it would move. */
export type Grip = { axis: 0 | 1 | 2; side: 'start' | 'stop' }[]

export class Pane {
  readonly canvas = h('canvas', { tabindex: 0, role: 'img' })
  readonly element = h('div', { class: 'pane' }, this.canvas)
  private readonly context: CanvasRenderingContext2D
  private readonly pictures = new Map<string, OffscreenCanvas>()
  private readonly painted = new WeakMap<Cut, Map<string, OffscreenCanvas>>()
  private readonly outlines = new WeakMap<Cut, Path2D>()
  private ratio = 1

  constructor(
    readonly plane: Plane,
    private readonly scene: Scene,
  ) {
    const context = this.canvas.getContext('2d', { alpha: false })
    if (!context) throw new Error('This browser draws no 2D canvas.')
    this.context = context
  }

  /** Forget pictures of the scan, because its window or the scan itself is another. */
  forget(): void {
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

  private corners(box: Box): [number, number, number, number] {
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
    const c = this.context
    c.setTransform(1, 0, 0, 1, 0, 0)
    c.fillStyle = '#000'
    c.fillRect(0, 0, w, hh)
    this.onPicture(() => {
      c.imageSmoothingEnabled = this.scene.smooth
      c.imageSmoothingQuality = 'high'
      c.drawImage(this.picture(), 0, 0)
      c.imageSmoothingEnabled = false
      this.drawMap()
      for (const shown of this.scene.objects) this.drawObject(shown)
    })
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0)
    this.drawStroke()
    this.drawBrush()
    this.drawBox()
    if (this.scene.crosshair) this.drawCrosshair()
    this.drawLetters(width, height)
    this.describe()
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
    const { volume, window: grey } = this.scene
    const key = `${this.index} ${grey.low} ${grey.high}`
    const known = this.pictures.get(key)
    if (known) return known
    if (this.pictures.size > 24) this.pictures.clear()
    const picture = volume.picture(this.plane, this.index, grey)
    const canvas = new OffscreenCanvas(picture.width, picture.height)
    canvas.getContext('2d')?.putImageData(picture, 0, 0)
    this.pictures.set(key, canvas)
    return canvas
  }

  private drawMap(): void {
    const map = this.scene.map
    const cut = map?.patch.cut(this.plane, this.index)
    if (!map || !cut) return
    this.context.globalAlpha = map.opacity
    this.context.drawImage(this.coloured(cut, map.name, map.ramp), cut.left, cut.top)
    this.context.globalAlpha = 1
  }

  private drawObject(shown: Shown): void {
    const c = this.context
    const cut = shown.mask.cut(this.plane, this.index)
    if (cut) {
      if (shown.fill > 0) {
        const [r, g, b] = rgb(shown.colour)
        c.globalAlpha = shown.fill
        c.drawImage(
          this.coloured(cut, shown.colour, (value) => [r, g, b, value ? 255 : 0]),
          cut.left,
          cut.top,
        )
        c.globalAlpha = 1
      }
      let path = this.outlines.get(cut)
      if (!path) {
        path = outline(cut, (value) => value > 0)
        this.outlines.set(cut, path)
      }
      this.strokePath(path, shown)
    }
    const scribbles = shown.current ? shown.scribbles?.cut(this.plane, this.index) : null
    if (scribbles) {
      c.globalAlpha = 0.75
      c.drawImage(this.scribbled(scribbles), scribbles.left, scribbles.top)
      c.globalAlpha = 1
    }
  }

  /** A path in the picture's pixels, with a line as wide as on the screen. */
  private strokePath(path: Path2D, shown: Shown): void {
    const c = this.context
    const onScreen = new Path2D()
    onScreen.addPath(path, c.getTransform())
    c.save()
    c.setTransform(1, 0, 0, 1, 0, 0)
    c.lineJoin = 'round'
    c.lineCap = 'square'
    if (shown.before) c.setLineDash([5 * this.ratio, 4 * this.ratio])
    c.lineWidth = (shown.current ? 3.2 : 2.2) * this.ratio
    c.strokeStyle = 'rgb(0 0 0 / 0.45)'
    c.stroke(onScreen)
    c.lineWidth = (shown.current ? 1.8 : 1.2) * this.ratio
    c.strokeStyle = shown.colour
    c.stroke(onScreen)
    c.restore()
  }

  private scribbled(cut: Cut): OffscreenCanvas {
    return this.coloured(cut, 'scribbles', (value, i, j) => {
      const [r, g, b] = rgb(value === 1 ? SCRIBBLE[1] : SCRIBBLE[2])
      const hatched = value === 2 && (i + j) % 2 === 0
      return [r, g, b, value === 0 ? 0 : hatched ? 120 : 255]
    })
  }

  private coloured(
    cut: Cut,
    key: string,
    colour: (value: number, i: number, j: number) => [number, number, number, number],
  ): OffscreenCanvas {
    let known = this.painted.get(cut)
    if (!known) {
      known = new Map()
      this.painted.set(cut, known)
    }
    const before = known.get(key)
    if (before) return before
    const picture = new ImageData(cut.width, cut.height)
    for (let j = 0, k = 0; j < cut.height; j++) {
      for (let i = 0; i < cut.width; i++, k++) {
        const value = cut.values[k] ?? 0
        if (value !== 0 || key === 'weights') picture.data.set(colour(value, i, j), 4 * k)
      }
    }
    const canvas = new OffscreenCanvas(cut.width, cut.height)
    canvas.getContext('2d')?.putImageData(picture, 0, 0)
    known.set(key, canvas)
    return canvas
  }

  private drawStroke(): void {
    const stroke = this.scene.stroke
    if (!stroke || stroke.plane !== this.plane) return
    const c = this.context
    const points = stroke.points.map((point) => this.toScreen(point))
    const radius = this.onScreen(stroke.radius)
    c.globalAlpha = 0.75
    c.fillStyle = c.strokeStyle = SCRIBBLE[stroke.label]
    c.lineWidth = 2 * radius
    c.lineCap = c.lineJoin = 'round'
    c.beginPath()
    for (const [x, y] of points) c.lineTo(x, y)
    if (points.length === 1 && points[0]) c.lineTo(points[0][0] + 0.01, points[0][1])
    c.stroke()
    c.globalAlpha = 1
  }

  private drawBrush(): void {
    const { brush, stroke } = this.scene
    if (!brush || stroke || brush.plane !== this.plane) return
    const c = this.context
    c.setLineDash(brush.label === 2 ? [3, 3] : [])
    c.beginPath()
    c.arc(brush.x, brush.y, this.onScreen(brush.radius), 0, 2 * Math.PI)
    for (const [width, style] of [
      [3, 'rgb(0 0 0 / 0.5)'],
      [1.5, SCRIBBLE[brush.label]],
    ] as const) {
      c.lineWidth = width
      c.strokeStyle = style
      c.stroke()
    }
    c.setLineDash([])
  }

  /** A brush's radius, given in units of the finest voxel, in CSS pixels. */
  private onScreen(radius: number): number {
    return Math.max(1.5, (radius || 0.5) * Math.min(...this.scene.volume.spacing) * this.scale)
  }

  private drawBox(): void {
    const shown = this.scene.box
    if (!shown) return
    const { start, stop } = shown.box
    const c = this.context
    const here = this.index >= start[this.plane] && this.index < stop[this.plane]
    const [left, top, right, bottom] = this.corners(shown.box)
    c.save()
    c.globalAlpha = here ? 1 : 0.35
    c.setLineDash(shown.drawn !== null || !here ? [6, 4] : [])
    for (const [width, style] of [
      [3, 'rgb(0 0 0 / 0.6)'],
      [1.25, '#ffffff'],
    ] as const) {
      c.lineWidth = width
      c.strokeStyle = style
      c.strokeRect(left, top, right - left, bottom - top)
    }
    if (here) {
      c.setLineDash([])
      c.lineWidth = 1
      c.strokeStyle = '#000'
      c.fillStyle = '#fff'
      for (const x of [left, (left + right) / 2, right]) {
        for (const y of [top, (top + bottom) / 2, bottom]) {
          if (x !== (left + right) / 2 || y !== (top + bottom) / 2) {
            c.fillRect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE)
            c.strokeRect(x - HANDLE, y - HANDLE, 2 * HANDLE, 2 * HANDLE)
          }
        }
      }
    }
    c.restore()
  }

  private drawCrosshair(): void {
    const [x, y] = this.toScreen(this.scene.cursor)
    const { clientWidth: width, clientHeight: height } = this.element
    const c = this.context
    c.strokeStyle = 'rgb(120 220 140 / 0.55)'
    c.lineWidth = 1
    c.beginPath()
    const gap = 10
    c.moveTo(x, 0)
    c.lineTo(x, y - gap)
    c.moveTo(x, y + gap)
    c.lineTo(x, height)
    c.moveTo(0, y)
    c.lineTo(x - gap, y)
    c.moveTo(x + gap, y)
    c.lineTo(width, y)
    c.stroke()
  }

  /** Where right, left, front, back, head and feet are, which slice this is, and how long a centimetre. */
  private drawLetters(width: number, height: number): void {
    const c = this.context
    const [u, v] = across(this.plane)
    const say = (text: string, x: number, y: number, align: CanvasTextAlign) => {
      c.textAlign = align
      c.lineWidth = 3
      c.strokeStyle = 'rgb(0 0 0 / 0.7)'
      c.strokeText(text, x, y)
      c.fillText(text, x, y)
    }
    c.font = '600 13px system-ui, sans-serif'
    c.fillStyle = '#e8ecf1'
    c.textBaseline = 'middle'
    if (!this.scene.planar) {
      say(LETTERS[u][0], 8, height / 2, 'left')
      say(LETTERS[u][1], width - 8, height / 2, 'right')
      say(LETTERS[v][0], width / 2, 12, 'center')
      say(LETTERS[v][1], width / 2, height - 12, 'center')
      c.font = '12px system-ui, sans-serif'
      say(`${PLANE_NAMES[this.plane]} ${this.index + 1} / ${this.scene.volume.shape[this.plane]}`, 8, 13, 'left')
    }
    this.drawRuler(height, say)
  }

  private drawRuler(height: number, say: (text: string, x: number, y: number, align: CanvasTextAlign) => void): void {
    if (this.scene.planar) return // a picture's millimetres mean nothing
    const c = this.context
    const scale = this.scale
    const length = [1, 2, 5, 10, 20, 50, 100, 200].find((mm) => mm * scale > 48) ?? 500
    const y = height - 14
    c.strokeStyle = '#e8ecf1'
    c.lineWidth = 1.5
    c.beginPath()
    c.moveTo(10, y - 4)
    c.lineTo(10, y)
    c.lineTo(10 + length * scale, y)
    c.lineTo(10 + length * scale, y - 4)
    c.stroke()
    c.font = '11px system-ui, sans-serif'
    say(length >= 10 ? `${length / 10} cm` : `${length} mm`, 14, y - 9, 'left')
  }

  private describe(): void {
    const { shape } = this.scene.volume
    const name = this.scene.planar
      ? 'Image'
      : `${PLANE_NAMES[this.plane]} slice ${this.index + 1} of ${shape[this.plane]}`
    if (this.canvas.getAttribute('aria-label') !== name) this.canvas.setAttribute('aria-label', name)
  }
}
