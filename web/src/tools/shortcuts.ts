// Which key does what.

import { LAYOUTS } from '../panels/topbar.ts'
import type { Layout } from '../session/prefs.ts'
import type { Tool } from './gestures.ts'
import type { Key } from './keys.ts'
import { TOOLS } from './toolbar.ts'

/** What keys can ask for. */
export interface Commands {
  pick(tool: Tool): void
  paint(label: 1 | 2): void
  paintOther(): void
  resizeBrush(step: 1 | -1): void
  clickHere(): void
  boxHere(): void
  open(): void
  otherDimension(): void
  confirm(): void
  escape(): void
  reject(): void
  compare(): void
  lookNext(): void
  refine(): void
  propagate(step: 1 | -1): void
  undo(): void
  redo(): void
  scroll(step: 1 | -1): void
  step(across: -1 | 0 | 1, down: -1 | 0 | 1, size?: number): void
  zoom(factor: number): void
  fit(): void
  arrange(layout: Layout): void
  nextMap(): void
  fill(): void
  removeMeasurement(): void
  hide(): void
  lock(): void
  export(): void
  report(): void
  finish(): void
  turn(step: 1 | -1): void
  chooseTask(): void
  help(): void
}

/** What a mouse does, for the help. */
export const MOUSE = [
  { keys: 'Wheel', what: 'Scroll through slices; with Ctrl: zoom' },
  { keys: 'Right drag', what: 'Window: up and down for level, sideways for width' },
  { keys: 'Middle drag', what: 'Pan (also Ctrl and drag); two fingers zoom and pan, one turns slices over' },
  { keys: 'Double click', what: 'One view as large as it goes, and back (Navigate)' },
  { keys: 'Shift and paint', what: 'Paint the other kind of scribble' },
]

export function shortcuts(to: Commands): Key[] {
  const key = (keys: string, what: string, run: () => void): Key => ({ keys: keys.split(' '), what, run })
  return [
    ...TOOLS.map(([tool, title, shortcut]) => key(shortcut, title, () => to.pick(tool))),
    key('F', 'Paint the object', () => to.paint(1)),
    key('G', 'Paint what is not the object', () => to.paint(2)),
    key('X', 'The other of the two', () => to.paintOther()),
    key('[', 'Smaller brush', () => to.resizeBrush(-1)),
    key(']', 'Larger brush', () => to.resizeBrush(1)),
    key('Space', 'Paint, or erase, at the crosshair', () => to.clickHere()),
    key('Shift+B', 'A box around the crosshair', () => to.boxHere()),
    key('Shift+P', 'A new object by painting, without a box', () => to.open()),
    key('D', 'Boxes in 2D or in 3D', () => to.otherDimension()),
    key('Enter', 'Segment the box, or what is painted; keep what a stroke did', () => to.confirm()),
    key('Escape', 'Cancel what is drawn or computed; discard a box, or what is painted', () => to.escape()),
    key('R', 'Reject what a stroke did, but keep the stroke', () => to.reject()),
    key('T', 'After a stroke: after, before, changes', () => to.compare()),
    key('U', 'Look here next: where the network is least sure', () => to.lookNext()),
    key('Shift+R', 'Learn more from the strokes there are', () => to.refine()),
    key('.', 'Carry a 2D object to the next slice', () => to.propagate(1)),
    key(',', 'Carry a 2D object to the previous slice', () => to.propagate(-1)),
    key('Ctrl+Z', 'Undo', () => to.undo()),
    key('Ctrl+Shift+Z Ctrl+Y', 'Redo', () => to.redo()),
    key('PageUp', 'Next slice', () => to.scroll(1)),
    key('PageDown', 'Previous slice', () => to.scroll(-1)),
    key('ArrowLeft', 'Crosshair one voxel to the left; with Shift, ten', () => to.step(-1, 0)),
    key('ArrowRight', 'To the right', () => to.step(1, 0)),
    key('ArrowUp', 'Up', () => to.step(0, -1)),
    key('ArrowDown', 'Down', () => to.step(0, 1)),
    key('Shift+ArrowLeft', 'Ten voxels to the left', () => to.step(-1, 0, 10)),
    key('Shift+ArrowRight', 'Ten to the right', () => to.step(1, 0, 10)),
    key('Shift+ArrowUp', 'Ten up', () => to.step(0, -1, 10)),
    key('Shift+ArrowDown', 'Ten down', () => to.step(0, 1, 10)),
    key('+ =', 'Zoom in', () => to.zoom(1.25)),
    key('-', 'Zoom out', () => to.zoom(0.8)),
    key('0', 'All of the scan', () => to.fit()),
    ...LAYOUTS.map(([layout, label], k) => key(String(k + 1), `View: ${label}`, () => to.arrange(layout))),
    key('M', 'Next map: probability, uncertainty, learnt from, none', () => to.nextMap()),
    key('O', 'Masks filled or as outlines only', () => to.fill()),
    key('Delete', 'Remove the last ruler or angle', () => to.removeMeasurement()),
    key('H', 'Hide or show the object worked on', () => to.hide()),
    key('K', 'Lock or unlock it', () => to.lock()),
    key('Shift+Enter', 'This object is finished: its task learns from it', () => to.finish()),
    key('Shift+T', 'Choose the task of new objects', () => to.chooseTask()),
    key('N', 'Next scan of the list', () => to.turn(1)),
    key('Shift+N', 'Previous scan of the list', () => to.turn(-1)),
    key('Ctrl+S', 'Export', () => to.export()),
    key('I', 'Report of what was done', () => to.report()),
    key('?', 'This help', () => to.help()),
  ]
}
