// Masks, scribbles and maps of a slice, in the picture's pixels.

import { type Cut, outline, type Patch } from '../scan/patch.ts'
import { ADDED } from '../session/adaptation.ts'
import { CHANGE, type Ramp, rgb, SCRIBBLE } from './colours.ts'
import type { Shown } from './scene.ts'

type Colour = (value: number, i: number, j: number) => [number, number, number, number]

/** Draws cuts of patches on one canvas, and remembers their pictures. */
export class Masks {
  private readonly painted = new WeakMap<Cut, Map<string, OffscreenCanvas>>()
  private readonly outlines = new WeakMap<Cut, Path2D>()

  constructor(private readonly context: CanvasRenderingContext2D) {}

  map(cut: Cut | null, name: string, ramp: Ramp, opacity: number): void {
    if (cut) this.put(cut, `map ${name}`, ramp, opacity)
  }

  /** `cut`: of the object's mask; `ratio`: the screen's pixels per CSS pixel. */
  object(cut: Cut | null, shown: Shown, ratio: number): void {
    if (!cut) return
    if (shown.fill > 0) {
      const [r, g, b] = rgb(shown.colour)
      this.put(cut, shown.colour, (value) => [r, g, b, value ? 255 : 0], shown.fill)
    }
    let path = this.outlines.get(cut)
    if (!path) {
      path = outline(cut, (value) => value > 0)
      this.outlines.set(cut, path)
    }
    this.line(path, shown, ratio)
  }

  scribbles(cut: Cut | null): void {
    if (!cut) return
    const colour: Colour = (value, i, j) => {
      const [r, g, b] = rgb(value === 1 ? SCRIBBLE[1] : SCRIBBLE[2])
      const hatched = value === 2 && (i + j) % 2 === 0
      return [r, g, b, value === 0 ? 0 : hatched ? 120 : 255]
    }
    this.put(cut, 'scribbles', colour, 0.75)
  }

  /** What came is whole, what went is hatched, so that nobody depends on the hue. */
  changes(patch: Patch, plane: 0 | 1 | 2, index: number): void {
    const cut = patch.cut(plane, index)
    if (!cut) return
    const [added, removed] = [rgb(CHANGE.added), rgb(CHANGE.removed)]
    const colour: Colour = (value, i, j) =>
      value === ADDED ? [...added, 255] : [...removed, (i + j) % 2 === 0 ? 130 : 255]
    this.put(cut, 'changes', colour, 0.8)
  }

  private put(cut: Cut, key: string, colour: Colour, opacity: number): void {
    this.context.globalAlpha = opacity
    this.context.drawImage(this.coloured(cut, key, colour), cut.left, cut.top)
    this.context.globalAlpha = 1
  }

  /** A path in the picture's pixels, with a line as wide as on the screen. */
  private line(path: Path2D, shown: Shown, ratio: number): void {
    const c = this.context
    const onScreen = new Path2D()
    onScreen.addPath(path, c.getTransform())
    c.save()
    c.setTransform(1, 0, 0, 1, 0, 0)
    c.lineJoin = 'round'
    c.lineCap = 'square'
    if (shown.before) c.setLineDash([5 * ratio, 4 * ratio])
    c.lineWidth = (shown.current ? 3.2 : 2.2) * ratio
    c.strokeStyle = 'rgb(0 0 0 / 0.45)'
    c.stroke(onScreen)
    c.lineWidth = (shown.current ? 1.8 : 1.2) * ratio
    c.strokeStyle = shown.colour
    c.stroke(onScreen)
    c.restore()
  }

  private coloured(cut: Cut, key: string, colour: Colour): OffscreenCanvas {
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
        if (value !== 0 || key === 'map weights') picture.data.set(colour(value, i, j), 4 * k)
      }
    }
    const canvas = new OffscreenCanvas(cut.width, cut.height)
    canvas.getContext('2d')?.putImageData(picture, 0, 0)
    known.set(key, canvas)
    return canvas
  }
}
