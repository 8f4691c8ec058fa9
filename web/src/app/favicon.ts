const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
const plain = link?.href ?? "";
let marked = false;

/** Puts a dot on the page's icon, or takes it off. */
export function markFavicon(mark: boolean): void {
  if (!link || mark === marked) return;
  marked = mark;
  if (mark) void dotted().then((address) => marked && address && setIcon(address));
  else setIcon(plain);
}

function setIcon(address: string): void {
  if (link) link.href = address;
}

async function dotted(): Promise<string | null> {
  const picture = new Image(32, 32);
  picture.src = plain;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const pen = canvas.getContext("2d");
  if (!pen) return null;
  await picture.decode().catch(() => {});
  if (picture.naturalWidth > 0) pen.drawImage(picture, 0, 0, 32, 32);
  pen.fillStyle = "#d9480f";
  pen.beginPath();
  pen.arc(24, 8, 8, 0, Math.PI * 2);
  pen.fill();
  return canvas.toDataURL("image/png");
}
