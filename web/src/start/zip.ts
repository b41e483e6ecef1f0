// Several files as one zip, without compression: what is sent, the server unpacks at once, and scans hardly get smaller.

/** A file and what it is called; slashes in the name are folders. */
export interface NamedBlob {
  name: string
  blob: Blob
}

const LIMIT = 2 ** 32 // sizes and places have four bytes
const FILES = 65_535 // their number has two
const AT_ONCE = 8 // files that are read: of a small one a browser takes longest to begin
const UTF8 = 0x0800
const DAY = 0x21 // 1 January 1980, the first there is: when a slice was saved is nobody's business
const TABLES = tables() // what each byte, followed by none to three others, does to a sum

/**
 * A zip that holds files as they are. `progress` hears which share of them was read, 0 to 1.
 *
 * Rejects with one sentence where they are more than 4 GiB or 65,535 files, or one cannot be read.
 */
export async function zipOf(
  files: NamedBlob[],
  progress: (share: number) => void = () => {},
  signal?: AbortSignal,
): Promise<Blob> {
  const total = files.reduce((sum, { blob }) => sum + blob.size, 0)
  check(files, total)
  const parts: BlobPart[] = []
  const directory: Uint8Array<ArrayBuffer>[] = []
  let offset = 0
  let read = 0
  const heard = (bytes: number) => {
    read += bytes
    progress(read / total)
  }
  const crcs = await several(files, (file, failed) => crcOf(file, heard, [failed, ...(signal ? [signal] : [])]))
  for (const [k, file] of files.entries()) {
    const crc = crcs[k] ?? 0
    const name = new TextEncoder().encode(file.name)
    const about = described(crc, file.blob.size, name.length)
    parts.push(record(0x04034b50, [], about, []), name, file.blob) // the content stays where it is
    directory.push(record(0x02014b50, [20], about, [0, 0, 0, 0, 0, offset & 0xffff, offset >>> 16]), name)
    offset += 30 + name.length + file.blob.size
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0)
  return new Blob([...parts, ...directory, end(files.length, size, offset)], { type: 'application/zip' })
}

function check(files: NamedBlob[], total: number): void {
  const around = files.reduce((sum, { name }) => sum + 76 + 2 * 3 * name.length, 22) // headers; a letter has 3 bytes at most
  if (total + around >= LIMIT) {
    throw new Error(`The ${files.length} files have ${(total / 2 ** 30).toFixed(1)} GiB; at most 4 GiB go together.`)
  }
  if (files.length > FILES) throw new Error(`There are ${files.length} files; at most ${FILES} go together.`)
}

/** The CRC-32 of a file's content; `read` hears how many bytes of it were read since it last did. */
async function crcOf({ name, blob }: NamedBlob, read: (bytes: number) => void, ends: AbortSignal[]): Promise<number> {
  let crc = 0xffffffff
  const reader = blob.stream().getReader()
  for (;;) {
    for (const signal of ends) signal.throwIfAborted()
    const { done, value } = await reader.read().catch(() => {
      throw new Error(`The file ${name} cannot be read.`)
    })
    if (done) return (crc ^ 0xffffffff) >>> 0
    crc = continued(crc, value)
    read(value.length)
  }
}

/** What comes of each of many; some are under way at a time, and all end where one fails. */
async function several<A, B>(all: A[], work: (one: A, failed: AbortSignal) => Promise<B>): Promise<B[]> {
  const made = new Array<B>(all.length)
  const left = all.entries()
  const failing = new AbortController()
  const go = async () => {
    for (const [k, one] of left) made[k] = await work(one, failing.signal)
  }
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, go))
  } finally {
    failing.abort()
  }
  return made
}

/** The sum over further bytes, four at a time. */
function continued(crc: number, bytes: Uint8Array): number {
  const [t0, t1, t2, t3] = TABLES
  const many = bytes.length & ~3
  let next = crc
  for (let k = 0; k < many; k += 4) {
    next ^= at(bytes, k) | (at(bytes, k + 1) << 8) | (at(bytes, k + 2) << 16) | (at(bytes, k + 3) << 24)
    next = at(t3, next & 0xff) ^ at(t2, (next >>> 8) & 0xff) ^ at(t1, (next >>> 16) & 0xff) ^ at(t0, next >>> 24)
  }
  for (let k = many; k < bytes.length; k++) next = at(t0, (next ^ at(bytes, k)) & 0xff) ^ (next >>> 8)
  return next
}

function at(values: Uint8Array | Uint32Array, k: number): number {
  return values[k] ?? 0
}

function tables(): [Uint32Array, Uint32Array, Uint32Array, Uint32Array] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
    return crc
  })
  const after = (table: Uint32Array) => table.map((crc) => (crc >>> 8) ^ (first[crc & 0xff] ?? 0))
  const second = after(first)
  const third = after(second)
  return [first, second, third, after(third)]
}

/** What a file's two headers share, in words of two bytes. */
function described(crc: number, size: number, name: number): number[] {
  const long = (value: number) => [value & 0xffff, value >>> 16]
  return [20, UTF8, 0, 0, DAY, ...long(crc), ...long(size), ...long(size), name, 0]
}

function end(files: number, size: number, offset: number): Uint8Array<ArrayBuffer> {
  return record(0x06054b50, [0, 0, files, files], [size & 0xffff, size >>> 16, offset & 0xffff, offset >>> 16], [0])
}

/** A signature of four bytes and words of two, little-endian. */
function record(signature: number, ...words: number[][]): Uint8Array<ArrayBuffer> {
  const all = words.flat()
  const bytes = new Uint8Array(4 + 2 * all.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, signature, true)
  for (const [k, word] of all.entries()) view.setUint16(4 + 2 * k, word, true)
  return bytes
}
