// The start screen: a scan is chosen, or a session that was begun before.

import { h } from '../elements/dom.ts'
import { confirmIn } from '../panels/dialogs.ts'
import type { Api } from '../server/api.ts'
import type { FileInfo, ImageInfo, SessionInfo } from '../server/types.ts'
import type { Prefs } from '../session/prefs.ts'
import {
  chosen,
  described,
  dropTarget,
  holdsSession,
  inOrder,
  intake,
  ofOneSeries,
  severalScans,
  type Telling,
} from './intake.ts'
import { Progress } from './progress.ts'
import type { Entry, Worklist } from './worklist.ts'
import type { NamedBlob } from './zip.ts'

/** What was chosen on the start screen: */
export interface Chosen {
  /** an image to begin a session on, */
  opened(image: ImageInfo, title: string): void
  /** a session there is, */
  resumed(id: string): void
  /** scans to go through, and where to begin, */
  listed(entries: Entry[], place: number): void
  /** or a place in the list there is. */
  turned(place: number): void
}

const PURPOSE =
  'Draw a box around anything in a medical image, and get it segmented; paint where it is wrong, and it learns. Scans stay on the machine that runs it.'
const SHOWN = 10 // sessions; the others on demand
const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_557_600],
  ['month', 2_629_800],
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
]

/** The start screen, a <main>; `worklist`: the list that this tab goes through. */
export function startScreen(api: Api, prefs: Prefs, worklist: Worklist | null, to: Chosen): HTMLElement {
  return new StartScreen(api, prefs, worklist, to).element
}

class StartScreen {
  readonly element: HTMLElement
  readonly #api: Api
  readonly #worklist: Worklist | null
  readonly #to: Chosen
  readonly #sections = h('div', { class: 'sources' })
  readonly #progress = new Progress(this.#sections)

  constructor(api: Api, prefs: Prefs, worklist: Worklist | null, to: Chosen) {
    this.#api = api
    this.#worklist = worklist
    this.#to = to
    if (worklist) this.#sections.append(this.#list(worklist))
    this.#sections.append(this.#choices(prefs))
    this.element = h(
      'main',
      { class: 'start' },
      h('h1', {}, 'bifseg'),
      h('p', { class: 'purpose' }, PURPOSE),
      this.#progress.element,
      this.#sections,
    )
    dropTarget(this.element, (files) => this.#take(files))
    void this.#fill()
  }

  // ---- a scan

  #choices(prefs: Prefs): HTMLElement {
    const take = (files: NamedBlob[]) => this.#take(files)
    const resume = (files: NamedBlob[]) => this.#import(files)
    return section(
      'Open a scan',
      h(
        'p',
        { class: 'drop' },
        'Drop a scan anywhere on this page: a file, or a folder of DICOM slices; or several scans.',
      ),
      h(
        'div',
        { class: 'actions' },
        choosing(h('button', { type: 'button', class: 'primary' }, 'Choose files'), { multiple: true }, take),
        choosing(h('button', { type: 'button' }, 'Choose a DICOM folder'), { webkitdirectory: true }, take),
        h('button', { type: 'button', onclick: () => this.#demo() }, 'Demo phantom'),
        choosing(h('button', { type: 'button' }, 'Open a session file'), { accept: '.zip' }, resume),
      ),
      h(
        'fieldset',
        { class: 'tidy' },
        h('legend', { class: 'unseen' }, 'Masks of new sessions'),
        h('span', {}, 'Masks in 3D:'),
        tidying(prefs, 'fillHoles', 'fill small holes'),
        tidying(prefs, 'dropIslands', 'drop small islands'),
      ),
    )
  }

  #take(coming: NamedBlob[] | Promise<NamedBlob[]>): Promise<void> {
    return this.#progress.run('Looking at the files', async (signal, telling) => {
      const files = await coming
      const [file] = files
      if (file && files.length === 1 && (await holdsSession(file.blob))) return this.#sent(file, signal, telling)
      const scans = await severalScans(this.#api, files)
      if (scans.length) return () => this.#to.listed(entriesOf(scans), 0)
      const { image, title } = await intake(this.#api, files, telling, signal)
      return () => this.#to.opened(image, title)
    })
  }

  async #import([file]: NamedBlob[]): Promise<void> {
    if (file) await this.#progress.run('Uploading', (signal, telling) => this.#sent(file, signal, telling))
  }

  async #sent({ blob }: NamedBlob, signal: AbortSignal, telling: Telling): Promise<() => void> {
    const uploading = (share: number) => telling(share < 1 ? share : null, share < 1 ? 'Uploading' : 'Reading')
    const { id } = await this.#api.importSession(blob, uploading, signal)
    return () => this.#to.resumed(id)
  }

  #demo(): Promise<void> {
    return this.#progress.run('Making the phantom', async () => {
      const image = await this.#api.demo()
      return () => this.#to.opened(image, 'Demo phantom')
    })
  }

  // ---- the list of scans

  #list({ entries }: Worklist): HTMLElement {
    const rows = entries.map(({ title, session, fault }, place) => {
      const about = fault ?? (session ? 'begun' : '')
      return h(
        'li',
        {},
        button(about ? `${title}: ${about}` : title, () => this.#to.turned(place)),
      )
    })
    return section(`List of ${entries.length} scans`, h('ol', { class: 'files' }, ...rows))
  }

  // ---- what the server has

  async #fill(): Promise<void> {
    const waiting = h('p', {}, 'Looking for sessions …')
    const list = h('div', {}, waiting)
    this.#sections.append(section('Recent sessions', list))
    try {
      const [server, sessions, images] = await Promise.all([
        this.#api.server(),
        this.#api.sessions(),
        this.#api.images(),
      ])
      const shapes = new Map(images.map(({ key, shape }) => [key, shape.join(' × ')]))
      const rows = sessions.map((session) => this.#session(session, shapes.get(session.image)))
      list.replaceChildren(...(rows.length ? shortened(rows) : [h('p', {}, 'There is none yet.')]))
      if (server.images) await this.#folders(server.upload_formats)
    } catch (error) {
      waiting.remove()
      this.#progress.fail(error)
    }
  }

  #session(session: SessionInfo, shape: string | undefined): HTMLElement {
    const title = session.title || 'untitled'
    const about = [ago(session.touched), shape].filter(Boolean).join(' · ')
    const open = h(
      'button',
      { type: 'button', class: 'choice pictured', onclick: () => this.#to.resumed(session.id) },
      h(
        'span',
        { class: 'thumbnail' },
        h('img', { src: this.#api.thumbnail(session.image), alt: '', loading: 'lazy' }),
      ),
      h('strong', {}, title),
      ' ',
      h('span', {}, about),
    )
    const remove = h('button', { type: 'button', 'aria-label': `Delete ${title}` }, 'Delete')
    const item = h('li', {}, open, remove)
    remove.addEventListener('click', () => this.#delete(session.id, title, item))
    return item
  }

  async #delete(id: string, title: string, item: HTMLElement): Promise<void> {
    const sentence = `${title} goes with its masks and scribbles, for good.`
    if (!(await confirmIn('Delete the session', sentence, 'Delete'))) return
    await this.#progress.run(`Deleting ${title}`, async () => {
      await this.#api.deleteSession(id)
      this.#worklist?.forget(id)
      return () => vanish(item)
    })
  }

  /** The server's folder of scans, to look through. */
  async #folders(formats: string[]): Promise<void> {
    const inside = h('div', {})
    const go = (folder: string) =>
      this.#progress.run('Looking into the folder', async () => {
        const files = await this.#api.files(folder)
        return () => {
          inside.replaceChildren(...this.#listing(folder, files, formats, go))
          inside.querySelector('button')?.focus()
        }
      })
    inside.append(...this.#listing('', await this.#api.files(''), formats, go))
    this.#sections.append(section('Scans on the server', inside))
  }

  #listing(folder: string, files: FileInfo[], formats: string[], go: (folder: string) => void): HTMLElement[] {
    const known = ({ path }: FileInfo) => formats.some((format) => path.toLowerCase().endsWith(format))
    const scans = files.filter((file) => !file.folder && known(file)).sort((a, b) => inOrder(a.path, b.path))
    const entries = scans.map(({ path }) => ({ title: nameOf(path), path }))
    const rows = [
      ...files.filter((file) => file.folder).map(({ path }) => button(`${nameOf(path)}/`, () => go(path))),
      ...entries.map(({ title, path }, place) =>
        button(title, () => (scans.length > 1 ? this.#to.listed(entries, place) : this.#open(path))),
      ),
    ]
    const others = files.length - rows.length
    const folders = files.filter((file) => file.folder).map(({ path }) => ({ title: nameOf(path), path }))
    const through = button(`Go through these ${folders.length} folders as DICOM series`, () =>
      this.#to.listed(folders, 0),
    )
    return [
      ...(folder ? this.#above(folder, go) : []),
      ...(rows.length ? [h('ul', { class: 'files' }, ...rows.map((row) => h('li', {}, row)))] : []),
      ...(folders.length > 1 && !entries.length ? [h('div', { class: 'actions' }, through)] : []),
      ...(others ? [h('p', {}, others === 1 ? '1 other file.' : `${others} other files.`)] : []),
      ...(files.length ? [] : [h('p', {}, 'The folder is empty.')]),
    ]
  }

  #above(folder: string, go: (folder: string) => void): HTMLElement[] {
    const up = button('Up', () => go(folder.split('/').slice(0, -1).join('/')))
    const series = button('Open this folder as a DICOM series', () => this.#open(folder))
    return [h('h3', {}, folder), h('div', { class: 'actions' }, up, series)]
  }

  #open(path: string): Promise<void> {
    return this.#progress.run(`Opening ${nameOf(path)}`, async () => {
      const image = await ofOneSeries((series) => this.#api.openFile(path, series))
      const title = await described(this.#api, image, nameOf(path))
      return () => this.#to.opened(image, title)
    })
  }
}

/** A list of what was chosen or dropped. */
export function entriesOf(scans: NamedBlob[]): Entry[] {
  return scans.map((file) => ({ title: nameOf(file.name), file }))
}

/** How long ago a time in seconds since 1970 was. */
export function ago(seconds: number, now: number = Date.now() / 1000): string {
  const past = now - seconds
  const unit = UNITS.find(([, length]) => past >= length)
  return unit ? new Intl.RelativeTimeFormat('en').format(-Math.floor(past / unit[1]), unit[0]) : 'just now'
}

function nameOf(path: string): string {
  return path.split('/').at(-1) ?? path
}

/** A list of the first rows, and a button for the others where there are more. */
function shortened(rows: HTMLElement[]): HTMLElement[] {
  const list = h('ul', { class: 'sessions' }, ...rows.slice(0, SHOWN))
  if (rows.length <= SHOWN) return [list]
  const more = button(`Show all ${rows.length}`, () => {
    list.append(...rows.slice(SHOWN))
    more.remove()
    rows[SHOWN]?.querySelector('button')?.focus()
  })
  return [list, h('p', { class: 'more' }, more)]
}

/** Take a row away; the focus goes to its neighbour. */
function vanish(item: HTMLElement): void {
  const neighbour = item.nextElementSibling ?? item.previousElementSibling
  const list = item.parentElement
  item.remove()
  if (neighbour) neighbour.querySelector('button')?.focus()
  else list?.replaceWith(h('p', {}, 'There is none any more.'))
}

/** A button, and what it lets the user choose files with. */
function choosing(
  button: HTMLButtonElement,
  attributes: Record<string, unknown>,
  took: (files: NamedBlob[]) => void,
): HTMLElement {
  const input = h('input', { type: 'file', hidden: true, 'aria-label': button.textContent, ...attributes })
  input.addEventListener('change', () => {
    const files = chosen(input.files)
    input.value = '' // so that the same file can be chosen again
    took(files)
  })
  button.addEventListener('click', () => input.click())
  return h('span', {}, button, input)
}

/** A switch of what becomes of masks in sessions that are begun from here on. */
function tidying(prefs: Prefs, key: 'fillHoles' | 'dropIslands', label: string): HTMLElement {
  const input = h('input', {
    type: 'checkbox',
    checked: prefs.look[key],
    onchange: () => {
      prefs.look[key] = input.checked
      prefs.save()
    },
  })
  return h('label', { class: 'check' }, input, label)
}

function button(label: string, onclick: () => void): HTMLButtonElement {
  return h('button', { type: 'button', onclick }, label)
}

let sections = 0
function section(title: string, ...content: HTMLElement[]): HTMLElement {
  sections += 1
  const id = `section-${sections}`
  return h('section', { 'aria-labelledby': id }, h('h2', { id }, title), ...content)
}
