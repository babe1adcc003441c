{{/* Names are fixed: the driver name aoe.dev can be there only once in a cluster, and so can this chart. */}}
{{- define "aoe-csi.labels" -}}
{{ include "aoe-csi.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "aoe-csi.selector" -}}
app.kubernetes.io/name: aoe-csi
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Reference of our image, or of a sidecar's: {image, tag for when the image has none}. */}}
{{- define "aoe-csi.reference" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .tag }}
{{- end -}}
{{- end }}

{{- define "aoe-csi.image" -}}
image: {{ include "aoe-csi.reference" (dict "image" .Values.image "tag" .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "aoe-csi.interfaces" -}}
{{ if .Values.interfaces }}{{ join "," .Values.interfaces }}{{ else }}auto{{ end }}
{{- end }}

{{/*
Node.js for our programs, which mostly wait: its optimizing compilers save no CPU time that can be measured, and take 10 MiB.
*/}}
{{- define "aoe-csi.node" -}}
node, --no-maglev, --no-turbofan
{{- end }}

{{/*
Environment that run/config reads, and the container's extraEnv: the argument is the container's settings. The rest keeps memory
small: by default Node.js lets new objects take 32 MiB and more before it looks which are left, its heap may grow to half of the
machine's memory, and glibc keeps an arena for each thread, where freed large strings stay instead of returning to the system.
A heap of 256 MiB is enough for 20,000 volumes. A variable of extraEnv with the same name wins.
*/}}
{{- define "aoe-csi.env" -}}
- { name: NODE_OPTIONS, value: "--max-semi-space-size=2 --max-old-space-size=256" }
- { name: MALLOC_ARENA_MAX, value: "1" }
- { name: MALLOC_MMAP_THRESHOLD_, value: "131072" }
- { name: MALLOC_TRIM_THRESHOLD_, value: "131072" }
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Probes of a program of ours: the argument is the name of its HTTP port. /healthz answers from the event loop, so a busy program
still answers, and a program without CPU time does not. The kubelet restarts a program that has not answered for 120 to 160 s:
seven failures in a row, one probe every 20 s, each of which may wait 20 s. A minute without CPU time fails four of them at most.
A start may take 300 s.
*/}}
{{- define "aoe-csi.probes" -}}
startupProbe:
  httpGet: { path: /healthz, port: {{ . }} }
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 300
livenessProbe:
  httpGet: { path: /healthz, port: {{ . }} }
  periodSeconds: 20
  timeoutSeconds: 20
  failureThreshold: 7
readinessProbe:
  httpGet: { path: /readyz, port: {{ . }} }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{/* Keys that every pod template shares: {root, part, settings}. */}}
{{- define "aoe-csi.podMetadata" -}}
labels:
  {{- include "aoe-csi.selector" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .part }}
  {{- with .settings.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .settings.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "aoe-csi.scheduling" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A lost node must not take all replicas of the controller with it, but a cluster of one node runs them all the same. */}}
{{- define "aoe-csi.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          {{- include "aoe-csi.controllerSelector" . | nindent 10 }}
{{- end }}

{{/* Selects the pods of the controller. */}}
{{- define "aoe-csi.controllerSelector" -}}
matchLabels:
  {{- include "aoe-csi.selector" . | nindent 2 }}
  app.kubernetes.io/component: controller
{{- end }}

{{/* Directories of a storage node that the agent and the target both see, at the same path. */}}
{{- define "aoe-csi.storageMounts" -}}
- name: dev
  mountPath: /dev
- name: sockets
  mountPath: /run/aoe-csi
- name: state
  mountPath: {{ .Values.storage.statePath }}
  mountPropagation: HostToContainer
{{- range $i, $directory := .Values.storage.directories }}
- name: directory-{{ $i }}
  mountPath: {{ $directory }}
  mountPropagation: HostToContainer
{{- end }}
{{- end }}

{{/*
Every directory is made where it is missing: with `type: Directory` the kubelet would refuse agent and target on every storage node
that lacks one of them, and so stop all volumes of that node. An empty directory, which may be the mount point of a disk that is
not mounted, is not taken for a pool: the agent is told of storage.directories and makes nothing in them unless a file system
is mounted there.
*/}}
{{- define "aoe-csi.storageVolumes" -}}
- name: dev
  hostPath: { path: /dev, type: Directory }
- name: sockets
  hostPath: { path: /run/aoe-csi, type: DirectoryOrCreate }
- name: state
  hostPath: { path: {{ .Values.storage.statePath }}, type: DirectoryOrCreate }
{{- range $i, $directory := .Values.storage.directories }}
- name: directory-{{ $i }}
  hostPath: { path: {{ $directory }}, type: DirectoryOrCreate }
{{- end }}
{{- end }}

{{/* Whether VolumeSnapshots of Kubernetes work with this driver: "true", or nothing. */}}
{{- define "aoe-csi.snapshots" -}}
{{- $enabled := .Values.controller.snapshotter.enabled }}
{{- if kindIs "bool" $enabled }}{{ if $enabled }}true{{ end }}
{{- else if .Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1" }}true{{ end }}
{{- end }}

{{/* Whether VolumeGroupSnapshots of Kubernetes work with this driver: "true", or nothing. */}}
{{- define "aoe-csi.groupSnapshots" -}}
{{- $enabled := .Values.controller.snapshotter.groups }}
{{- if not (include "aoe-csi.snapshots" .) }}
{{- else if kindIs "bool" $enabled }}{{ if $enabled }}true{{ end }}
{{- else if .Capabilities.APIVersions.Has "groupsnapshot.storage.k8s.io/v1" }}true{{ end }}
{{- end }}

{{/* Whether the cluster has VolumeAttributesClasses in storage.k8s.io/v1: "true", or "false". csi-resizer would wait for them for ever. */}}
{{- define "aoe-csi.volumeAttributesClasses" -}}
{{- semverCompare ">=1.34-0" .Capabilities.KubeVersion.Version }}
{{- end }}

{{/* Whether automatic takeover is on, with all that it needs: "true", or nothing. */}}
{{- define "aoe-csi.takeover" -}}
{{- $on := or .Values.takeover.enabled .Values.takeover.after }}
{{- range .Values.storageClasses }}{{ if ne (.takeoverAfter | default "Never") "Never" }}{{ $on = true }}{{ end }}{{ end }}
{{- if $on }}true{{ end }}
{{- end }}

{{/* Names of the ports of the controller's containers, as JSON. */}}
{{- define "aoe-csi.controllerPorts" -}}
{{- $ports := list "operator" "csi-controller" "provisioner" "attacher" }}
{{- if .Values.controller.resizer.enabled }}{{ $ports = append $ports "resizer" }}{{ end }}
{{- if include "aoe-csi.snapshots" . }}{{ $ports = append $ports "snapshotter" }}{{ end }}
{{- toJson $ports }}
{{- end }}

{{/* Annotations of the objects of the job that upgrades the CRDs: the argument is their place in the order. A job that failed stays, for its log. Also before an
     installation: Helm leaves the CRDs of an earlier release as they are. */}}
{{- define "aoe-csi.crdsHook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
