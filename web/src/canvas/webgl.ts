// How this machine draws in 3D.

const BY_THE_CPU = /swiftshader|llvmpipe|softpipe|software|basic render/i

/** Whether WebGL is there, but without a graphics card: a rendering then holds up the page. */
export function drawsSlowly(): boolean {
  const context = document.createElement('canvas').getContext('webgl2')
  if (!context) return false
  const names = context.getExtension('WEBGL_debug_renderer_info')
  const renderer = context.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : context.RENDERER)
  context.getExtension('WEBGL_lose_context')?.loseContext()
  return BY_THE_CPU.test(String(renderer))
}
