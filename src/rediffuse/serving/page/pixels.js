// Images as pixels: decoded on canvases, compared one by one.

/** The bytes of a PNG that came as base64. */
export function fileOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0))], { type: "image/png" });
}

/** The pixels of a PNG, RGBA, as the file holds them: no colour is converted, none is multiplied. */
export async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/**
 * How two images differ: {pixels, differing, greatest, where}; `where` is an image, light where they differ.
 * Images of two sizes differ everywhere, and have no `where`.
 */
export function difference(one, other) {
  const pixels = one.width * one.height;
  if (one.width !== other.width || one.height !== other.height) return { pixels, differing: pixels, greatest: 255, where: null };
  const where = new ImageData(one.width, one.height);
  let [differing, greatest] = [0, 0];
  for (let at = 0; at < one.data.length; at += 4) {
    const channels = [0, 1, 2, 3].map((channel) => Math.abs(one.data[at + channel] - other.data[at + channel]));
    const most = Math.max(...channels);
    greatest = Math.max(greatest, most);
    if (most) differing += 1;
    where.data.set(most ? [255, 110 + most / 2, 60, 255] : [40, 44, 48, 255], at);
  }
  return { pixels, differing, greatest, where };
}

/** A canvas that shows pixels. */
export function canvasOf(pixels) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}
