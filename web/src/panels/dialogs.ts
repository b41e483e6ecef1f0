// What is asked and told in front of the page: questions, the report, help.

import { h } from '../elements/dom.ts'
import { flattened } from '../scan/reading.ts'
import type { Api } from '../server/api.ts'
import { sentenceOf } from '../server/errors.ts'
import type { EntryInfo, ImageInfo, MeasureInfo } from '../server/types.ts'
import {
  columnsOf,
  facts,
  inWords,
  lasted,
  type Report,
  reportText,
  rounded,
  tableOf,
  when,
} from '../session/report.ts'
import { save, stemOf } from './files.ts'

/** One of several, as a person reads it. */
export interface Choice {
  value: string
  label: string
}

// ---- questions

/** Ask for a text that is not empty; null where the user would rather not say. */
export function askText(
  title: string,
  label: string,
  value: string,
  known: { name: string; meaning: string }[] = [],
): Promise<string | null> {
  const list = newId()
  const input = h('input', { type: 'text', value, required: true, autofocus: true, autocomplete: 'off', list })
  const options = known.map(({ name, meaning }) => h('option', { value: name }, meaning))
  const hint = known.length > 0 && h('p', { class: 'hint' }, 'Names from the list have a SNOMED code in DICOM-SEG.')
  const field = h('div', {}, h('label', {}, label, input), h('datalist', { id: list }, ...options), hint)
  const answer = asked(title, 'OK', () => input.value.trim() || null, field)
  input.select()
  return answer
}

/** Ask for a range of slices, counted from 1; null where the user would rather not say. */
export function askRange(here: number, last: number): Promise<[number, number] | null> {
  const field = (value: number) =>
    h('input', { type: 'number', min: 1, max: last, value, step: 1, required: true, autocomplete: 'off' })
  const [from, to] = [field(Math.max(1, here - 5)), field(Math.min(last, here + 5))]
  const fields = h('div', { class: 'pair' }, h('label', {}, 'First slice', from), h('label', {}, 'Last slice', to))
  const answer = (): [number, number] => {
    const [a, b] = [from.valueAsNumber, to.valueAsNumber]
    return [Math.min(a, b), Math.max(a, b)]
  }
  return asked('Carry the object through slices', 'Carry on', answer, fields)
}

/** Ask whether to do what the button `action` says. */
export async function confirmIn(title: string, sentence: string, action: string): Promise<boolean> {
  return (await asked(title, action, () => true, h('p', {}, sentence))) ?? false
}

/** Ask for one of several; null for none of them. */
export function askChoice(title: string, sentence: string, choices: Choice[]): Promise<string | null> {
  const name = newId()
  const options = choices.map(({ value, label }, k) =>
    h('label', { class: 'option' }, h('input', { type: 'radio', name, value, checked: k === 0 }), label),
  )
  const legend = h('legend', {}, sentence)
  const fields = h('fieldset', {}, legend, ...options)
  return asked(title, 'Open', () => fields.querySelector<HTMLInputElement>('input:checked')?.value ?? null, fields)
}

/** What becomes of an object's stroke that leaves the box; `partly`: some of it lies inside. */
export function askOutside(partly: boolean): Promise<'grow' | 'inside' | null> {
  const title = 'The stroke leaves the box'
  const sentence = h(
    'p',
    {},
    'If the box grows, the object begins anew in it, with all your strokes. Undo takes it back.',
  )
  const inside = h('button', { type: 'submit', value: 'inside', class: 'primary' }, 'Paint inside only')
  const grow = h('button', { type: 'submit', value: 'grow', class: partly ? null : 'primary' }, 'Make the box larger')
  return new Promise((resolve) => {
    let answer: 'grow' | 'inside' | null = null
    const form = h(
      'form',
      {
        onsubmit: (event) => {
          event.preventDefault()
          answer = (event as SubmitEvent).submitter === grow ? 'grow' : 'inside'
          dialog.close()
        },
      },
      sentence,
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', onclick: () => dialog.close() }, 'Forget the stroke'),
        grow,
        partly && inside,
      ),
    )
    const dialog = shown(title, form)
    dialog.addEventListener('close', () => resolve(answer))
    ;(partly ? inside : grow).focus()
  })
}

function asked<T>(title: string, action: string, answer: () => T | null, content: HTMLElement): Promise<T | null> {
  return new Promise((resolve) => {
    let given: T | null = null
    const form = h(
      'form',
      {
        onsubmit: (event) => {
          event.preventDefault()
          given = answer()
          dialog.close()
        },
      },
      content,
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'),
        h('button', { type: 'submit', class: 'primary' }, action),
      ),
    )
    const dialog = shown(title, form)
    dialog.addEventListener('close', () => resolve(given))
  })
}

// ---- help

/** What the keys do. */
export function showHelp(rows: { keys: string; what: string }[]): void {
  const body = rows.map(({ keys, what }) =>
    h('tr', {}, h('th', { scope: 'row' }, h('kbd', {}, keys)), h('td', {}, what)),
  )
  closable('Keys', h('table', { class: 'keys' }, headed('Key', 'What it does'), h('tbody', {}, ...body)))
}

// ---- the report

/** What was done in a session and what came of it; to read, and to save. */
export async function showReport(api: Api, id: string, image: ImageInfo): Promise<void> {
  const { status, alert, lines } = told()
  const content = h('div', {})
  closable('Report', lines, content)
  status.textContent = 'Gathering what was done …'
  try {
    const [report, measures, history] = await Promise.all([api.report(id), api.measures(id), api.history(id)])
    const sizes = measures.map((measure) => flattened(measure, image))
    content.replaceChildren(...reportIn(report as Report, sizes, history))
  } catch (error) {
    alert.textContent = sentenceOf(error)
  }
  status.textContent = ''
}

function reportIn(report: Report, measures: MeasureInfo[], history: EntryInfo[]): HTMLElement[] {
  const stem = stemOf(report.session.title)
  const asJson = () => save(jsonOf({ ...report, measures, history }), `${stem}-report.json`)
  const asText = () =>
    save(new Blob([reportText(report, measures, history)], { type: 'text/plain' }), `${stem}-report.txt`)
  const objects = tableOf(report, measures)
  return [
    h('dl', {}, ...facts(report, history).flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])),
    h('h3', {}, 'Objects'),
    objects.length
      ? h('table', {}, headed(...columnsOf(measures)), h('tbody', {}, ...objects.map(row)))
      : h('p', {}, 'There is no object yet.'),
    ...report.objects.filter(({ rounds }) => rounds.length).map(rounds),
    h('h3', {}, 'What was done'),
    history.length ? h('ol', { class: 'history' }, ...history.map(entry)) : h('p', {}, 'Nothing yet.'),
    h(
      'div',
      { class: 'actions' },
      h('button', { type: 'button', onclick: asJson }, 'Save as JSON'),
      h('button', { type: 'button', onclick: asText }, 'Save as text'),
    ),
  ]
}

const ROUND_COLUMNS = ['Round', 'Energy', 'Loss before', 'Loss after']

function rounds({ name, rounds, milliseconds }: Report['objects'][number]): HTMLElement {
  const rows = rounds.map(({ round, energy, loss_before, loss_after }) =>
    [round, rounded(energy, 1), loss(loss_before), loss(loss_after)].map(String),
  )
  const stages = Object.entries(milliseconds).map(([stage, ms]) => `${stage} ${rounded(ms, 0)} ms`)
  return h(
    'details',
    {},
    h('summary', {}, `Rounds of ${name}`),
    h('table', {}, headed(...ROUND_COLUMNS), h('tbody', {}, ...rows.map(row))),
    h('p', {}, stages.join(', ')),
  )
}

function loss(value: number | null | undefined): string {
  return value === undefined || value === null ? '–' : rounded(value, 4)
}

function entry(entry: EntryInfo): HTMLElement {
  const time = h('time', { datetime: new Date(entry.created * 1000).toISOString() }, when(entry.created))
  return h('li', { value: entry.number }, time, ' ', `${inWords(entry)}${lasted(entry)}`)
}

// ---- dialogs in general

/** A dialog that only tells something. */
export function closable(title: string, ...content: HTMLElement[]): HTMLDialogElement {
  const dialog = shown(title, ...content)
  const close = h('button', { type: 'button', onclick: () => dialog.close() }, 'Close')
  dialog.querySelector('.dialog-title')?.append(close)
  close.focus()
  return dialog
}

/** Esc closes it, and the focus goes back to where it was: the browser sees to both. */
function shown(title: string, ...content: HTMLElement[]): HTMLDialogElement {
  const id = newId()
  const dialog: HTMLDialogElement = h(
    'dialog',
    {
      'aria-labelledby': id,
      onkeydown: (event) => dialog.open && event.stopPropagation(), // the page's keys are for the page
      onclose: () => dialog.remove(),
    },
    h('div', { class: 'dialog-title' }, h('h2', { id }, title)),
    ...content,
  )
  document.body.append(dialog)
  dialog.showModal()
  return dialog
}

/** Lines that are read out when they change. */
export function told(): { status: HTMLElement; alert: HTMLElement; lines: HTMLElement } {
  const status = h('p', { role: 'status' })
  const alert = h('p', { role: 'alert' })
  return { status, alert, lines: h('div', {}, status, alert) }
}

function headed(...columns: string[]): HTMLElement {
  return h('thead', {}, h('tr', {}, ...columns.map((column) => h('th', { scope: 'col' }, column))))
}

function row([first, ...others]: string[]): HTMLElement {
  return h('tr', {}, h('th', { scope: 'row' }, first), ...others.map((cell) => h('td', {}, cell)))
}

let ids = 0
function newId(): string {
  ids += 1
  return `dialog-${ids}`
}

function jsonOf(value: unknown): Blob {
  return new Blob([JSON.stringify(value, null, 2)], { type: 'application/json' })
}
