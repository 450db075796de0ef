import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { hasRoute, read, readYaml, root, variables } from './files.ts';

const directory = 'deploy/kubernetes';
type Labels = Record<string, string>;
type Probe = { httpGet: { path: string; port: string }; timeoutSeconds: number };
type Variable = {
  name: string;
  value?: string;
  valueFrom?: { secretKeyRef: { name: string; key: string; optional?: boolean } };
};
type Container = {
  name: string;
  image: string;
  ports: { name: string; containerPort: number }[];
  env: Variable[];
  startupProbe: Probe;
  livenessProbe: Probe;
  readinessProbe: Probe;
  securityContext: Record<string, unknown>;
  resources: { requests: Labels; limits: Labels };
};
type Manifest = { apiVersion: string; kind: string; metadata: { name: string } };
type Deployment = Manifest & {
  spec: {
    replicas?: number;
    strategy: { type: string; rollingUpdate: { maxUnavailable: number } };
    selector: { matchLabels: Labels };
    template: {
      metadata: { labels: Labels; annotations: Labels };
      spec: {
        terminationGracePeriodSeconds: number;
        securityContext: { runAsNonRoot: boolean; runAsUser: number };
        topologySpreadConstraints: { labelSelector: { matchLabels: Labels } }[];
        containers: Container[];
      };
    };
  };
};

describe('the manifests for Kubernetes', () => {
  const manifests = new Map<string, Manifest>();
  let files: string[];
  let deployment: Deployment;
  let worker: Container;
  const get = <Kind extends Manifest>(kind: string) => manifests.get(kind) as Kind;
  beforeAll(async () => {
    files = (await readdir(path.join(root, directory))).filter((file) => file.endsWith('.yaml')).sort();
    for (const file of files) {
      for (const manifest of await readYaml<Manifest>(`${directory}/${file}`))
        manifests.set(manifest.kind, manifest);
    }
    deployment = get<Deployment>('Deployment');
    worker = deployment.spec.template.spec.containers[0]!;
  });

  it('are of these kinds and versions', () => {
    expect(Object.fromEntries([...manifests].map(([kind, { apiVersion }]) => [kind, apiVersion]))).toEqual({
      Deployment: 'apps/v1',
      HorizontalPodAutoscaler: 'autoscaling/v2',
      Kustomization: 'kustomize.config.k8s.io/v1beta1',
      PodDisruptionBudget: 'policy/v1',
      Secret: 'v1',
      Service: 'v1',
    });
  });

  it('are all applied, but for the secret that is an example', () => {
    const { resources } = get<Manifest & { resources: string[] }>('Kustomization');
    expect(['kustomization.yaml', 'secret.example.yaml', ...resources].sort()).toEqual(files);
  });

  it('select the pods that the deployment makes', () => {
    const { labels } = deployment.spec.template.metadata;
    const service = get<Manifest & { spec: { selector: Labels } }>('Service');
    const budget = get<Manifest & { spec: { selector: { matchLabels: Labels } } }>('PodDisruptionBudget');
    const { topologySpreadConstraints } = deployment.spec.template.spec;
    for (const selector of [
      deployment.spec.selector.matchLabels,
      service.spec.selector,
      budget.spec.selector.matchLabels,
      ...topologySpreadConstraints.map(({ labelSelector }) => labelSelector.matchLabels),
    ]) {
      expect(Object.keys(selector)).not.toEqual([]);
      expect(labels).toMatchObject(selector);
    }
  });

  it('have the port that a worker listens on', () => {
    expect(worker.ports).toEqual([{ name: 'http', containerPort: readConfig({}).PORT }]);
    const service = get<Manifest & { spec: { ports: { targetPort: string }[] } }>('Service');
    expect(service.spec.ports.map(({ targetPort }) => targetPort)).toEqual(['http']);
    expect(deployment.spec.template.metadata.annotations['prometheus.io/port']).toBe(
      String(readConfig({}).PORT),
    );
  });

  it('probe routes that exist, the database for readiness alone', async () => {
    expect(worker.readinessProbe.httpGet.path).toBe('/readyz');
    expect(worker.livenessProbe.httpGet.path).toBe('/healthz');
    expect(worker.startupProbe.httpGet.path).toBe('/healthz');
    for (const { httpGet, timeoutSeconds } of [
      worker.readinessProbe,
      worker.livenessProbe,
      worker.startupProbe,
    ]) {
      expect(await hasRoute(httpGet.path)).toBe(true);
      expect(httpGet.port).toBe('http');
      // /readyz waits 3 s for its database.
      expect(timeoutSeconds).toBeGreaterThan(3);
    }
    expect(await hasRoute(deployment.spec.template.metadata.annotations['prometheus.io/path']!)).toBe(true);
  });

  it('set variables that a worker reads, from keys that the secret has', async () => {
    const known = await variables();
    const secret = get<Manifest & { stringData: Labels }>('Secret');
    expect(worker.env.map(({ name }) => name).filter((name) => !known.includes(name))).toEqual([]);
    const env: Labels = {};
    for (const { name, value, valueFrom } of worker.env) {
      if (valueFrom) expect(valueFrom.secretKeyRef.name).toBe(secret.metadata.name);
      env[name] = value ?? secret.stringData[valueFrom!.secretKeyRef.key]!;
    }
    expect(Object.keys(secret.stringData).filter((key) => !(key in env))).toEqual([]);
    expect(readConfig(env)).toMatchObject(env);
  });

  it('start no worker without a database and a key: it would be one of its own each', () => {
    const needed = worker.env.filter(({ valueFrom }) => valueFrom && !valueFrom.secretKeyRef.optional);
    expect(needed.map(({ name }) => name)).toEqual(['DATABASE_URL', 'OPENAI_API_KEY']);
  });

  it('run it as the image’s user, who is not root and can change nothing', async () => {
    const { securityContext } = deployment.spec.template.spec;
    const [, user] = /^USER (\d+):/m.exec(await read('Dockerfile'))!;
    expect(securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: Number(user) });
    expect(worker.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('give a worker more time than it takes to leave', () => {
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(10);
  });

  it('leave the number of workers to the autoscaler, which has a measure', () => {
    const autoscaler = get<
      Manifest & {
        spec: {
          scaleTargetRef: Omit<Manifest, 'metadata'> & { name: string };
          minReplicas: number;
          maxReplicas: number;
        };
      }
    >('HorizontalPodAutoscaler');
    expect(deployment.spec.replicas).toBeUndefined();
    expect(autoscaler.spec.scaleTargetRef).toEqual({
      apiVersion: deployment.apiVersion,
      kind: deployment.kind,
      name: deployment.metadata.name,
    });
    expect(autoscaler.spec.minReplicas).toBeGreaterThan(1);
    expect(autoscaler.spec.maxReplicas).toBeGreaterThan(autoscaler.spec.minReplicas);
    expect(worker.resources.requests.cpu).toBeDefined();
  });

  it('rename the image of the deployment, with a tag', () => {
    const { images } = get<Manifest & { images: { name: string; newTag: string }[] }>('Kustomization');
    expect(images.map(({ name }) => name)).toEqual([worker.image]);
    expect(images[0]!.newTag).toMatch(/^\d+\.\d+\.\d+$/);
  });
});
