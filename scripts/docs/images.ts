// Every image that the chart's pods use, from its values.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { code, table } from './markdown.ts';

const CHART = join(import.meta.dirname, '../../charts/aoe-csi');

export interface Image {
  /** The value that names it: `image`, or `controller.attacher.image`. */
  readonly value: string;
  readonly repository: string;
  readonly tag: string;
  /** `sha256:…`; empty when the chart names the image by its tag. */
  readonly digest: string;
}

interface Settings {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** All images in the values of the chart. @param appVersion tag of ours when the values have none */
export function imagesOf(values: unknown, appVersion: string, path = ''): Image[] {
  if (!isObject(values)) return [];
  return Object.entries(values).flatMap(([name, value]) => {
    const inner = `${path}${name}`;
    if (name !== 'image') return imagesOf(value, appVersion, `${inner}.`);
    const { repository, tag, digest } = value as Settings;
    return [{ value: inner, repository, tag: tag || appVersion, digest }];
  });
}

export function chartImages(): Image[] {
  const read = (name: string) => parse(readFileSync(join(CHART, name), 'utf8'));
  return imagesOf(read('values.yaml'), read('Chart.yaml').appVersion);
}

/** How a pod names an image. */
export function referenceOf({ repository, tag, digest }: Image): string {
  return digest ? `${repository}@${digest}` : `${repository}:${tag}`;
}

export function imagesTable(images: readonly Image[]): string {
  const rows = images.map((image) => [code(image.value), code(referenceOf(image))]);
  return table(['Value', 'Image'], rows);
}
