// The page: who may use it, what is open, and what to say when the server cannot be reached.

import { h } from './elements/dom.ts'
import { icon } from './elements/icons.ts'
import { askChoice } from './panels/dialogs.ts'
import type { Turning } from './panels/topbar.ts'
import { Api } from './server/api.ts'
import { ApiError, sentenceOf } from './server/errors.ts'
import { wholeBeside } from './server/whole.ts'
import { Prefs } from './session/prefs.ts'
import { dropTarget, intake, severalScans } from './start/intake.ts'
import { entriesOf, startScreen } from './start/open.ts'
import { type Entry, Worklist } from './start/worklist.ts'
import { Workspace } from './workspace.ts'

const api = new Api()
api.large = wholeBeside()
const prefs = new Prefs()
window.addEventListener('pagehide', () => prefs.leave())
const banner = h('div', { class: 'banner', role: 'alert', hidden: true })
const toast = h('div', { class: 'toast', role: 'alert', hidden: true })
const middle = h('div', { class: 'middle' })
const title = h('h1', { class: 'title', hidden: true })
const moves = h('div', { class: 'moves' })
const THEMES = ['auto', 'dark', 'light'] as const
const TOLD = 8000 // milliseconds for which a sentence stays
let workspace: Workspace | null = null
let worklist = Worklist.kept(api)
let turning = false
let timer = 0

function say(sentence: string): void {
  window.clearTimeout(timer)
  toast.replaceChildren(
    h('p', {}, sentence),
    h(
      'button',
      { type: 'button', 'aria-label': 'Close this message', onclick: () => toast.toggleAttribute('hidden', true) },
      '✕',
    ),
  )
  toast.hidden = false
  timer = window.setTimeout(() => toast.toggleAttribute('hidden', true), TOLD)
}

function themed(): void {
  document.documentElement.dataset.theme = prefs.look.theme
}

function nextTheme(): void {
  const next = THEMES[(THEMES.indexOf(prefs.look.theme) + 1) % THEMES.length] ?? 'auto'
  prefs.look.theme = next
  prefs.save()
  themed()
  say({ auto: 'Colours as your system has them.', dark: 'Dark colours.', light: 'Light colours.' }[next])
}

/** What the address asks for; a token in it is used and taken out at once. */
async function arrive(): Promise<void> {
  const asked = new URLSearchParams(window.location.hash.slice(1))
  const token = asked.get('enter')
  if (token) {
    asked.delete('enter')
    window.history.replaceState(null, '', `#${asked}`)
    await api.enter(token)
  }
  const id = asked.get('session')
  if (id) return open(id)
  await api.server() // who is not known is shown the way in
  await start()
}

function show(...content: Node[]): void {
  workspace?.close()
  workspace = null
  moves.replaceChildren()
  title.hidden = true
  middle.replaceChildren(...content)
}

async function start(): Promise<void> {
  document.title = 'bifseg'
  window.history.replaceState(null, '', window.location.pathname)
  show(
    startScreen(api, prefs, worklist, {
      opened: (image, name) => begin(image.key, name),
      resumed: (id) => attempt(() => open(id)),
      listed: goThrough,
      turned: turnTo,
    }),
  )
}

/** A new session on an image. */
async function begin(image: string, name: string): Promise<void> {
  await attempt(async () => open(await newSession(image, name)))
}

async function newSession(image: string, name: string): Promise<string> {
  return (await api.createSession(image, name.slice(0, 200), prefs.look)).id
}

// ---- a list of scans

function goThrough(entries: Entry[], place: number): void {
  worklist = new Worklist(api, entries)
  void turnTo(place)
}

/** Open a scan of the list; where that fails, what is on the screen stays. */
async function turnTo(place: number): Promise<void> {
  if (!worklist || turning) return
  turning = true
  try {
    const id = await worklist.session(place, newSession, (share, doing) => {
      say(share === null ? `${doing} …` : `${doing} ${Math.round(100 * share)} %`)
    })
    await attempt(() => open(id))
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return
    say(`Scan ${place + 1}: ${sentenceOf(error)}`)
    if (!workspace) await start() // the list tells it, too
  } finally {
    turning = false
  }
}

/** How to get from a session's scan to others of the list; null where it is in none. */
function turningFrom(session: string): Turning | null {
  const place = worklist?.placeOf(session) ?? -1
  if (!worklist || place < 0) return null
  const list = worklist
  return {
    place,
    count: list.entries.length,
    turn: (step) => {
      const next = list.beside(place, step)
      if (next === null) say(step > 0 ? 'This is the last scan of the list.' : 'This is the first scan of the list.')
      else void turnTo(next)
    },
    pick: async () => {
      const choices = list.entries.map(({ title, session, fault }, k) => ({
        value: String(k),
        label: [`${k + 1}. ${title}`, fault ?? (session && 'begun')].filter(Boolean).join(': '),
      }))
      const picked = await askChoice('List of scans', 'Which one do you want to see?', choices)
      if (picked !== null) void turnTo(Number(picked))
    },
  }
}

async function open(id: string): Promise<void> {
  // Nothing moves here: without a graphics card that takes a core from whoever reads the scan.
  show(h('main', { class: 'loading' }, h('p', { role: 'status' }, 'Loading the scan …')))
  window.history.replaceState(null, '', `#session=${id}`)
  const opened = await Workspace.open(api, id, prefs, say, turningFrom(id))
  workspace = opened
  title.textContent = workspace.title
  title.hidden = false
  document.title = `${workspace.title} · bifseg`
  moves.replaceChildren(workspace.headerElement)
  middle.replaceChildren(workspace.element)
  const place = worklist?.placeOf(id) ?? -1
  const prepare = () => worklist?.prepare(worklist.beside(place, 1))
  if (place >= 0) opened.arrived.then(prepare, () => {}) // what went wrong was said
}

/** Do something, and say in words where it fails; then there is the start screen, or the way in. */
async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return denied(error.message)
    await start()
    say(sentenceOf(error))
  }
}

/** The way in, for who has no token or an old one. */
function denied(sentence: string): void {
  const input = h('input', {
    type: 'password',
    name: 'token',
    autocomplete: 'off',
    required: true,
    'aria-label': 'Token',
  })
  const why = h('p', { role: 'alert' }, sentence)
  const enter = async (event: Event) => {
    event.preventDefault()
    try {
      await api.enter(input.value.trim())
      await attempt(arrive)
    } catch (error) {
      why.textContent = sentenceOf(error)
    }
  }
  show(
    h(
      'main',
      { class: 'denied' },
      h('h1', {}, 'This server does not know you'),
      why,
      h(
        'p',
        {},
        'Type ',
        h('code', {}, 'bifseg app'),
        ' again and use the address that it prints, or paste a token of ',
        h('code', {}, 'bifseg token create'),
        '. What was saved is still there.',
      ),
      h('form', { onsubmit: enter }, input, h('button', { type: 'submit', class: 'primary' }, 'Enter')),
    ),
  )
}

api.onconnection = (state) => {
  if (state === 'denied') {
    denied('Your token is too old, or was revoked.')
    return
  }
  banner.hidden = state === 'back'
  banner.textContent = 'The server cannot be reached. Nothing is lost; this goes on by itself as soon as it answers.'
  if (state === 'back') say('The server is back.')
}

themed()
document.body.append(
  h(
    'header',
    { class: 'top' },
    h(
      'button',
      {
        type: 'button',
        class: 'icon-button',
        title: 'Scans and sessions',
        'aria-label': 'Scans and sessions',
        onclick: () => attempt(start),
      },
      icon('home'),
    ),
    h('strong', {}, 'bifseg'),
    title,
    moves,
    h(
      'button',
      {
        type: 'button',
        class: 'icon-button',
        title: 'Dark or light',
        'aria-label': 'Dark or light',
        onclick: nextTheme,
      },
      icon('theme'),
    ),
  ),
  banner,
  middle,
  toast,
)
dropTarget(document.body, async (files) => {
  if (!workspace) return // the start screen has its own place for files
  try {
    const scans = await severalScans(api, await files)
    if (scans.length) return goThrough(entriesOf(scans), 0)
    const { image, title: name } = await intake(api, files, (share, doing) => {
      say(share === null ? doing : `${doing} ${Math.round(100 * share)} %`)
    })
    await begin(image.key, name)
  } catch (error) {
    if (error instanceof Error && error.name !== 'AbortError') say(error.message)
  }
})
window.addEventListener('unhandledrejection', (event) => say(sentenceOf(event.reason)))
window.addEventListener('beforeunload', () => workspace?.close())
attempt(arrive)
