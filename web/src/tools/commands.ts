// What keys and buttons ask for, done to a session on the screen.

import type { Stage } from '../canvas/stage.ts'
import { showHelp } from '../panels/dialogs.ts'
import { SHOWINGS } from '../session/adaptation.ts'
import type { Measurements } from '../session/measurements.ts'
import type { Model } from '../session/model.ts'
import type { Objects } from '../session/objects.ts'
import type { MapKind, Prefs } from '../session/prefs.ts'
import type { View } from '../session/view.ts'
import type { Drawing } from './drawing.ts'
import type { Tools } from './gestures.ts'
import { type Commands, MOUSE, shortcuts } from './shortcuts.ts'

const MAPS: MapKind[] = ['none', 'probability', 'uncertainty', 'weights']

/** The parts of a session on the screen. */
export interface Parts {
  model: Model
  stage: Stage
  objects: Objects
  drawing: Drawing
  prefs: Prefs
  view: View
  tools: Tools
  measurements: Measurements
  panel: HTMLElement
  propagate(step: 1 | -1): void
  export(): Promise<void>
  report(): Promise<void>
  finish(): Promise<void>
  turn(step: 1 | -1): void
}

export function commandsOf(parts: Parts): Commands {
  const { model, stage, objects, drawing, prefs, view, tools, measurements, panel } = parts
  const current = (run: (name: string) => void) => () => objects.current && run(objects.current)
  const commands: Commands = {
    pick: (tool) => view.pick(tool),
    paint: (label) => view.paint(label),
    paintOther: () => view.paint((3 - tools.label) as 1 | 2),
    resizeBrush: (step) => view.resizeBrush(step),
    clickHere: () => drawing.click(view.pane().plane),
    boxHere: () => {
      drawing.here(view.pane().plane)
      panel.querySelector('details')?.setAttribute('open', '')
    },
    open: () => {
      drawing.open()
      view.pick('brush')
      view.paint(1)
    },
    otherDimension: () => view.look({ dimension: prefs.look.dimension === 2 ? 3 : 2 }),
    confirm: () => {
      if (drawing.draft) drawing.begin()
      else if (drawing.opening) drawing.beginByStrokes()
      else if (model.adaptation) model.accept()
    },
    escape: () => {
      if (tools.abandon()) return
      if (model.busy) model.cancel()
      else if (drawing.draft || drawing.opening) drawing.discard()
      else view.pick('navigate')
    },
    reject: () => void model.reject(),
    compare: () => {
      const { adaptation } = model
      if (!adaptation) return
      const ways = SHOWINGS.filter((way) => way !== 'changes' || adaptation.changes)
      model.show(ways[(ways.indexOf(adaptation.showing) + 1) % ways.length] ?? 'after')
    },
    lookNext: () => void objects.lookNext(),
    refine: () => void model.refine(),
    propagate: (step) => parts.propagate(step),
    undo: () => void (drawing.takeBack() || model.undo()),
    redo: () => void model.redo(),
    scroll: (step) => stage.scroll(view.pane().plane, step),
    step: (over, down, size) => view.step(over, down, size),
    zoom: (factor) => view.zoom(factor),
    fit: () => stage.fit(),
    arrange: (layout) => view.look({ layout }),
    nextMap: () => view.look({ map: MAPS[(MAPS.indexOf(prefs.look.map) + 1) % MAPS.length] ?? 'none' }),
    fill: () => view.look({ opacity: prefs.look.opacity > 0 ? 0 : 0.25 }),
    removeMeasurement: () => measurements.remove(),
    hide: current((name) => objects.hide(name)),
    lock: current((name) => objects.lock(name)),
    export: () => void parts.export(),
    report: () => void parts.report(),
    finish: () => void parts.finish(),
    turn: (step) => parts.turn(step),
    chooseTask: () => panel.querySelector<HTMLElement>('[data-key="task"]')?.focus(),
    help: () =>
      showHelp([...MOUSE, ...shortcuts(commands).map(({ keys, what }) => ({ keys: keys.join(' or '), what }))]),
  }
  return commands
}
