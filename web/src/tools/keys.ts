// The keyboard: one table, which the page listens by and the help shows.

export interface Key {
  /** As it is written in the help; the first of several is shown on buttons. */
  keys: string[]
  what: string
  run: () => void
}

/** What a key event is called in the table: "Ctrl+Z", "Shift+ArrowUp", "b". */
export function nameOf(event: KeyboardEvent): string {
  const key = event.key === ' ' ? 'Space' : event.key.length === 1 ? event.key.toUpperCase() : event.key
  const named = event.key.length > 1 || event.key === ' ' || /[a-z]/i.test(event.key)
  const shift = event.shiftKey && named ? 'Shift+' : ''
  // AltGr, which some keyboards need for brackets, counts as Ctrl with some systems.
  const ctrl = (event.ctrlKey || event.metaKey) && !event.getModifierState('AltGraph') ? 'Ctrl+' : ''
  return `${ctrl}${shift}${key}`
}

/** Listen, except where somebody types or a dialog is open; returns how to stop. */
export function listen(table: Key[]): () => void {
  const known = new Map(table.flatMap((key) => key.keys.map((name) => [name, key] as const)))
  const heard = (event: KeyboardEvent) => {
    const { target } = event
    const name = nameOf(event)
    if (document.querySelector('dialog[open]')) return
    if (target instanceof HTMLElement) {
      if (target.matches('input:not([type=range], [type=checkbox], [type=radio]), select, textarea')) return
      if (target.matches('button, a, summary, [type=checkbox], [type=radio]') && ['Enter', 'Space'].includes(name))
        return
      if (target.matches('[type=range], [type=radio]') && name.startsWith('Arrow')) return
    }
    const key = known.get(name)
    if (!key) return
    event.preventDefault()
    key.run()
  }
  document.addEventListener('keydown', heard)
  return () => document.removeEventListener('keydown', heard)
}
