// Signs on buttons: strokes on a 24 by 24 grid.

import { svg } from './dom.ts'

const PATHS = {
  navigate: 'M12 3v18M3 12h18M12 3l-3 3m3-3 3 3M12 21l-3-3m3 3 3-3M3 12l3-3m-3 3 3 3M21 12l-3-3m3 3-3 3',
  box: 'M5 5h14v14H5zM3 3h4v4H3zM17 3h4v4h-4zM3 17h4v4H3zM17 17h4v4h-4z',
  brush: 'M4 20c3 0 5-1 5-4 0-2-2-3-3-2-2 1-1 4-2 6zM9 14 19 4c1-1 2 0 1 1L11 16',
  line: 'M5 19 19 5M3 17h4v4H3zM17 3h4v4h-4z',
  click: 'M12 9v6M9 12h6M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
  erase: 'M8 20h12M4 15 14 5l6 6-9 9H8l-4-4zM9 10l6 6',
  ruler: 'M3 16 16 3l5 5L8 21zM7 12l2 2M10 9l3 3M13 6l2 2',
  angle: 'M4 20 17 4M4 20h17M11 11a9 9 0 0 1 3 9',
  undo: 'M9 5 4 10l5 5M4 10h10a5 5 0 0 1 0 10h-4',
  redo: 'M15 5l5 5-5 5M20 10H10a5 5 0 0 0 0 10h4',
  eye: 'M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  hidden: 'M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM4 4l16 16',
  lock: 'M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3',
  unlock: 'M6 11h12v9H6zM8 11V8a4 4 0 0 1 7.5-2',
  edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
  remove: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  next: 'M9 5l7 7-7 7',
  previous: 'M15 5l-7 7 7 7',
  help: 'M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 17.5v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
  save: 'M12 3v12m0 0-4-4m4 4 4-4M4 18v3h16v-3',
  report: 'M6 3h9l4 4v14H6zM9 11h7M9 15h7M9 7h3',
  home: 'M4 11 12 4l8 7M6 10v10h12V10',
  theme: 'M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z',
} as const

export type Icon = keyof typeof PATHS

export function icon(name: Icon): SVGElement {
  return svg('svg', { viewBox: '0 0 24 24', 'aria-hidden': 'true', class: 'icon' }, svg('path', { d: PATHS[name] }))
}
