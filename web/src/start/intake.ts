// What a person drops or chooses becomes an image on the server: one file as it is, the slices of a series as a zip.

import { askChoice, type Choice } from '../panels/dialogs.ts'
import type { Api } from '../server/api.ts'
import { ApiError } from '../server/errors.ts'
import type { ImageInfo, SeriesInfo } from '../server/types.ts'
import { type NamedBlob, zipOf } from './zip.ts'

/** Hears what is done to the files, and which share of it is done; null where nobody knows. */
export type Telling = (share: number | null, doing: string) => void

const NEVER_SLICES = /(^|\/)(\.[^/]*|__MACOSX\/.*|DICOMDIR|Thumbs\.db|desktop\.ini)$/i
const DICOM = /\.(dcm|zip)$/i
const PAIR = /\.(hdr|img)(\.gz)?$/i

/**
 * Send files to the server: the image, and what its session may be called.
 *
 * Rejects with one sentence for what cannot be opened, ApiError where the server refuses it, and AbortError where
 * `signal` or the user, asked for one of several DICOM series, says so.
 */
export async function intake(
  api: Api,
  files: NamedBlob[] | Promise<NamedBlob[]>,
  progress: Telling = () => {},
  signal?: AbortSignal,
): Promise<{ image: ImageInfo; title: string }> {
  const given = (await files).filter(({ name }) => !NEVER_SLICES.test(name))
  const { upload_formats, limits } = await api.server()
  await check(given, upload_formats)
  const title = titleOf(given)
  const { name, blob } = await packed(given, upload_formats, title, progress, signal)
  checkSize(blob.size, limits.upload_bytes)
  const uploading = (share: number) => progress(share < 1 ? share : null, share < 1 ? 'Uploading' : 'Reading')
  const image = await ofOneSeries((series) => api.upload(blob, name, uploading, series, signal))
  return { image, title: await described(api, image, title) }
}

/** What a scan may be called: as its DICOM series is described, else by its file. */
export async function described(api: Api, image: ImageInfo, file: string): Promise<string> {
  return (image.dicom && (await api.display(image.key)).description) || file
}

/** Ask for an image; where it holds several DICOM series, ask the user for one, and again for that. */
export async function ofOneSeries(ask: (series?: string) => Promise<ImageInfo>): Promise<ImageInfo> {
  try {
    return await ask()
  } catch (error) {
    const choices = error instanceof ApiError ? choicesOf(error.series) : []
    if (!choices.length) throw error
    const series = await askChoice('Several DICOM series', 'There are several DICOM series; which one is it?', choices)
    if (series === null) throw new DOMException('No series was picked.', 'AbortError')
    return ask(series)
  }
}

/** The series that can be asked for, in words. */
export function choicesOf(series: SeriesInfo[]): Choice[] {
  return series.flatMap(({ uid, shape, modality, number, description }) => {
    const named = description ?? (number === null ? null : `Series ${number}`)
    const label = [named, modality, `${shape.join(' × ')} voxels`, uid].filter((word) => word).join(', ')
    return uid ? [{ value: uid, label }] : []
  })
}

/** Files each of which is a scan of its own, by their names; empty where they are one scan, or slices of one. */
export async function severalScans(api: Api, files: NamedBlob[]): Promise<NamedBlob[]> {
  const given = files.filter(({ name }) => !NEVER_SLICES.test(name))
  if (given.length < 2) return []
  const { upload_formats } = await api.server()
  if (!given.every(({ name }) => isIn(name, upload_formats) && !DICOM.test(name) && !PAIR.test(name))) return []
  return given.sort((a, b) => inOrder(a.name, b.name))
}

/** Compares names as a person orders them: 9 before 10. */
export function inOrder(a: string, b: string): number {
  return a.localeCompare(b, undefined, { numeric: true })
}

async function check(files: NamedBlob[], formats: string[]): Promise<void> {
  const [first] = files
  if (!first) throw new Error('There is no file to open.')
  const half = files.find(({ name }) => PAIR.test(name))
  if (half)
    throw new Error(`${half.name} is one of a pair of .hdr and .img files; make one .nii file of the two first.`)
  if (files.length === 1 && !isIn(first.name, formats) && !(await isDicom(first.blob))) {
    throw new Error(`${first.name} is of no known kind; possible are DICOM slices, ${formats.join(', ')}.`)
  }
}

function checkSize(bytes: number, limit: number | undefined): void {
  if (limit === undefined || bytes <= limit) return
  const [size, most] = [bytes, limit].map((n) => (n / 2 ** 30).toPrecision(3))
  throw new Error(`The upload has ${size} GiB; this server takes ${most} GiB at most.`)
}

async function packed(
  files: NamedBlob[],
  formats: string[],
  title: string,
  progress: Telling,
  signal: AbortSignal | undefined,
): Promise<NamedBlob> {
  const [first] = files
  if (first && files.length === 1 && isIn(first.name, formats)) return first
  return { name: `${title}.zip`, blob: await zipOf(files, (share) => progress(share, 'Packing'), signal) }
}

function isIn(name: string, formats: string[]): boolean {
  return formats.some((format) => name.toLowerCase().endsWith(format))
}

/** Whether it begins as DICOM files do; the names of slices often have no ending. */
async function isDicom(blob: Blob): Promise<boolean> {
  return (await blob.slice(128, 132).text()) === 'DICM'
}

/** Whether it is a session file: a zip that begins with the manifest of one. */
export async function holdsSession(blob: Blob): Promise<boolean> {
  const [kind, name] = await Promise.all([blob.slice(0, 2).text(), blob.slice(30, 43).text()])
  return kind === 'PK' && name === 'manifest.json'
}

/** The name of the one file, or of the folder that holds all of them. */
function titleOf(files: NamedBlob[]): string {
  const paths = files.map(({ name }) => name.split('/'))
  const [first = []] = paths
  if (files.length > 1 && first.length > 1 && paths.every(([folder]) => folder === first[0])) return String(first[0])
  const name = String(first.at(-1))
  return files.length > 1 ? `${name} and ${files.length - 1} more` : name
}

// ---- where files come from

/** Files that were chosen, with their folders. */
export function chosen(files: FileList | null): NamedBlob[] {
  return [...(files ?? [])].map((file) => ({ name: file.webkitRelativePath || file.name, blob: file }))
}

/** Let files and folders be dropped on an element, which has the class "dropping" while some are above it. */
export function dropTarget(element: HTMLElement, handle: (files: Promise<NamedBlob[]>) => void): void {
  const above = (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes('Files')) return
    event.preventDefault()
    event.dataTransfer.dropEffect = 'copy'
    element.classList.add('dropping')
  }
  element.addEventListener('dragenter', above)
  element.addEventListener('dragover', above)
  element.addEventListener('dragleave', ({ relatedTarget }) => {
    if (!element.contains(relatedTarget as Node | null)) element.classList.remove('dropping')
  })
  element.addEventListener('drop', (event) => {
    element.classList.remove('dropping')
    if (event.defaultPrevented || !event.dataTransfer?.types.includes('Files')) return // an inner target took them
    event.preventDefault()
    handle(dropped(event.dataTransfer))
  })
}

async function dropped(transfer: DataTransfer): Promise<NamedBlob[]> {
  // Both lists are empty after the first pause.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null)
  const files = chosen(transfer.files)
  return entries.length ? (await Promise.all(entries.map(filesIn))).flat() : files
}

async function filesIn(entry: FileSystemEntry): Promise<NamedBlob[]> {
  try {
    if (entry.isDirectory) {
      return (await Promise.all((await children(entry as FileSystemDirectoryEntry)).map(filesIn))).flat()
    }
    const blob = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    return [{ name: entry.fullPath.replace(/^\//, ''), blob }]
  } catch (error) {
    throw error instanceof DOMException ? new Error(`${entry.name} cannot be read.`) : error
  }
}

/** All that lies in a folder: the browser gives it in parts, and an empty one at the end. */
async function children(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader()
  const all: FileSystemEntry[] = []
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (!part.length) return all
    all.push(...part)
  }
}
