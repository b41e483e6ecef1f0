// The part of the panel about the task that new objects belong to, and a closer look at what it learnt from.

import { h } from '../elements/dom.ts'
import type { LearntInfo, TaskState } from '../server/types.ts'
import type { Model } from '../session/model.ts'
import { PATIENTS, type Tasks } from '../session/tasks.ts'
import { closable } from './dialogs.ts'

/** What the part about tasks can be asked for. */
export interface Teaching {
  chooseTask(name: string | null): void
  beginTask(): void
  finish(): Promise<void>
  lookAtTask(): void
}

const NEW = '+'

export function taskPart(tasks: Tasks, model: Model, dimension: 2 | 3, wishes: Teaching): Node[] {
  const { chosen, list } = tasks
  const select = h(
    'select',
    {
      'aria-label': 'Task of new objects',
      'data-key': 'task',
      title: 'Objects of one kind: it learns from those you finish (Shift+T)',
      onchange: () => {
        if (select.value === NEW) wishes.beginTask()
        else wishes.chooseTask(select.value.slice(1) || null)
      },
    },
    h('option', { value: '-', selected: !chosen }, 'None'),
    ...list.map(({ name }) => h('option', { value: `-${name}`, selected: name === chosen?.name }, name)),
    h('option', { value: NEW }, 'New task …'),
  )
  const heading = h('h2', {}, 'Task')
  if (!chosen) {
    const purpose = 'Many objects of one kind? A task learns from those that you finish, and the next begin better.'
    return [heading, select, h('p', { class: 'hint' }, purpose)]
  }
  const { current } = model
  const held = current !== null && tasks.holds(current)
  const button = (label: string, title: string, disabled: boolean, run: () => void) =>
    h('button', { type: 'button', title, disabled, 'data-key': label, onclick: run }, label)
  return [
    heading,
    select,
    h('p', { class: 'hint', role: 'status' }, progress(tasks, chosen, dimension)),
    ...(current ? [h('p', { class: 'hint' }, beginning(current.name, current.prior))] : []),
    h(
      'div',
      { class: 'actions' },
      button(
        held ? 'Added' : tasks.adding ? 'Adding …' : 'Finished',
        'The object worked on is right everywhere: learn from it (Shift+Enter)',
        !current || held || tasks.adding || model.busy !== null,
        () => void wishes.finish(),
      ),
      button('Look at it …', 'What it learnt from, and what came of it', false, () => wishes.lookAtTask()),
    ),
  ]
}

/** How far a task is, in a line. */
export function progress(tasks: Tasks, { finished, learning, in_use, versions }: TaskState, dimension: 2 | 3): string {
  const own = finished.filter((one) => one.dimension === dimension).length
  const kind = dimension === 2 ? 'slices' : 'volumes'
  if (!own) return `No finished object in ${kind} yet.`
  const used = tasks.inUse(dimension)
  const so = learning ? ' It is learning …' : ''
  if (used) return `New objects begin with what was learnt from ${objects(used.objects)}.${so}`
  const last = in_use.find((one) => one.dimension === dimension)
  if (learning) return `Learning from ${objects(own)} …`
  const rejected = versions.some((one) => one.dimension === dimension && one.rejected)
  if (!last) return `${objects(own)} finished; ${rejected ? 'what was learnt is not used' : 'nothing was learnt yet'}.`
  if (last.patients < PATIENTS) return `${objects(own)} finished; it learns from the third patient on.`
  return `${objects(own)} finished; the network as it ships is still as good.`
}

function beginning(name: string, prior: { task: string; version: number } | null): string {
  if (!prior) return `${name} began with the network as it ships.`
  return `${name} began with what ${prior.task} had learnt (version ${prior.version}).`
}

function objects(count: number): string {
  return count === 1 ? '1 object' : `${count} objects`
}

/** What a task learnt from, with a picture of each, and how much better first masks became. */
export function showTask(
  tasks: Tasks,
  picture: (task: string, digest: string) => string,
  shape: (task: string, version: number) => string,
  remove: () => Promise<void>,
): void {
  const content = h('div', { class: 'task-look' })
  const dialog = closable(tasks.chosen?.name ?? '', content)
  const again = (work: Promise<void>) => void work.then(() => fill())
  const fill = () => {
    const { chosen } = tasks
    if (!chosen) {
      dialog.close()
      return
    }
    const some = chosen.in_use.some((one) => one.used)
    const rejected = chosen.versions.some((one) => one.rejected)
    content.replaceChildren(
      h('h3', {}, 'Learns from'),
      chosen.finished.length
        ? h('ul', { class: 'pictures' }, ...[...chosen.finished].reverse().map((one) => pictured(chosen.name, one)))
        : h('p', { class: 'hint' }, 'No finished object yet.'),
      h('h3', {}, 'What came of it'),
      ...curves(chosen),
      ...places(chosen, shape),
      h(
        'div',
        { class: 'actions' },
        some && h('button', { type: 'button', onclick: () => again(tasks.use(false)) }, 'Do without what was learnt'),
        rejected && h('button', { type: 'button', onclick: () => again(tasks.use(true)) }, 'Use what was learnt again'),
        h('button', { type: 'button', onclick: () => again(remove()) }, 'Delete the task …'),
      ),
    )
  }
  const pictured = (task: string, { digest, object, title }: TaskState['finished'][number]) => {
    const told = [object, title].filter(Boolean).join(' · ')
    const out = h('button', { type: 'button', title: 'Take it out', 'aria-label': `Take out ${told}` }, '✕')
    out.addEventListener('click', () => again(tasks.remove(digest)))
    const name = h('span', { title: told }, told)
    return h(
      'li',
      {},
      h('img', { src: picture(task, digest), alt: `${told}, with its outline`, loading: 'lazy' }),
      name,
      out,
    )
  }
  fill()
}

/** Where in their boxes objects lie, by what new ones begin with. */
function places({ name, in_use }: TaskState, shape: (task: string, version: number) => string): Node[] {
  return in_use
    .filter((one) => one.shape > 0 && !one.rejected)
    .map((one) => {
      const told = `Where in a box they lie: the mean of ${objects(one.objects)}, ${one.dimension}D`
      const img = h('img', { src: shape(name, one.version), alt: told, loading: 'lazy' })
      return h('figure', { class: 'mean-shape' }, img, h('figcaption', { class: 'hint' }, told))
    })
}

function whatCounts({ network, shape, reach }: LearntInfo): string {
  const share = (value: number) => `${Math.round(100 * value)} %`
  const strokes = reach ? `; strokes reach ${reach === 'short' ? '' : 'much '}less far` : ''
  return `looks ${share(network)}, place ${share(shape)}${strokes}`
}

/** A row for each time that something was learnt: the first mask's Dice on objects that were left out. */
function curves({ versions }: TaskState): Node[] {
  const judged = versions.filter((one) => one.before !== null)
  if (!judged.length) return [h('p', { class: 'hint' }, `Nothing yet: it takes objects of ${PATIENTS} patients.`)]
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`
  const row = (one: LearntInfo) =>
    h(
      'tr',
      { class: one.rejected ? 'rejected' : null },
      h('th', { scope: 'row' }, `${objects(one.objects)}, ${one.dimension}D`),
      h('td', {}, percent(one.before ?? 0)),
      h('td', {}, one.used ? percent((one.before ?? 0) + one.gain) : 'no better'),
      h('td', {}, one.used ? whatCounts(one) : ''),
      h('td', {}, one.rejected ? 'not used' : ''),
    )
  const columns = ['Learnt from', 'First masks before', 'After', 'What counts', '']
  const head = h('thead', {}, h('tr', {}, ...columns.map((column) => h('th', { scope: 'col' }, column))))
  return [
    h('table', {}, head, h('tbody', {}, ...judged.map(row))),
    h('p', { class: 'hint' }, 'Overlap with the finished masks (Dice), on patients that it had not learnt from.'),
  ]
}
