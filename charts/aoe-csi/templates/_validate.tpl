{{/* What values.schema.json cannot say. Fails with what is wrong and what to write instead. */}}
{{- define "aoe-csi.validate" -}}
{{- $bounds := splitList "-" .Values.addresses.shelves }}
{{- $low := int (first $bounds) }}
{{- $high := int (last $bounds) }}
{{- if or (gt $low $high) (gt $high 65534) (and (eq $low 4095) (eq $high 4095)) }}
{{- fail (printf "addresses.shelves: %q is not a range of usable shelves: write LOW-HIGH with 0 <= LOW <= HIGH <= 65534 (4095 alone cannot be used)" .Values.addresses.shelves) }}
{{- end }}
{{- include "aoe-csi.validatePaths" . }}
{{- include "aoe-csi.validatePods" . }}
{{- $names := dict }}
{{- $roots := prepend .Values.storage.directories .Values.storage.statePath }}
{{- range .Values.pools }}
{{- $where := printf "pools: %s" .name }}
{{- if hasKey $names .name }}{{ fail (printf "%s: there are two pools of that name" $where) }}{{ end }}
{{- $_ := set $names .name true }}
{{- if and .wipe (ne .backend "lvm") }}{{ fail (printf "%s: wipe goes with backend lvm, this one has backend %s" $where .backend) }}{{ end }}
{{- if and .reclaimZeros (eq .backend "lvm") }}{{ fail (printf "%s: reclaimZeros goes with backends lvm-thin and file, this one has backend lvm" $where) }}{{ end }}
{{- if and .overprovision (ne .backend "lvm-thin") }}{{ fail (printf "%s: overprovision goes with backend lvm-thin, this one has backend %s" $where .backend) }}{{ end }}
{{- if and .reserve (ne .backend "file") }}{{ fail (printf "%s: reserve goes with backend file, this one has backend %s" $where .backend) }}{{ end }}
{{- range list .volumeGroup .thinPool }}{{ if has . (list "." "..") }}{{ fail (printf "%s: %q is not a name that LVM takes" $where .) }}{{ end }}{{ end }}
{{- if eq .backend "file" }}
{{- if or .volumeGroup .thinPool }}{{ fail (printf "%s: volumeGroup and thinPool go with backends lvm and lvm-thin, this one has backend file" $where) }}{{ end }}
{{- if not .directory }}{{ fail (printf "%s: backend file needs a directory" $where) }}{{ end }}
{{- $pool := . }}
{{- $inside := false }}
{{- range $roots }}{{ if hasPrefix (printf "%s/" .) (printf "%s/" $pool.directory) }}{{ $inside = true }}{{ end }}{{ end }}
{{- if not $inside }}{{ fail (printf "%s: the pods do not see directory %s: put it below storage.statePath (%s) or name it in storage.directories" $where .directory $.Values.storage.statePath) }}{{ end }}
{{- else }}
{{- if .directory }}{{ fail (printf "%s: directory goes with backend file, this one has backend %s" $where .backend) }}{{ end }}
{{- if not .volumeGroup }}{{ fail (printf "%s: backend %s needs a volumeGroup" $where .backend) }}{{ end }}
{{- if and (eq .backend "lvm-thin") (not .thinPool) }}{{ fail (printf "%s: backend lvm-thin needs a thinPool" $where) }}{{ end }}
{{- if and (eq .backend "lvm") .thinPool }}{{ fail (printf "%s: thinPool goes with backend lvm-thin, this one has backend lvm" $where) }}{{ end }}
{{- end }}
{{- end }}
{{- $classes := dict }}
{{- $default := "" }}
{{- range .Values.storageClasses }}
{{- if hasKey $classes .name }}{{ fail (printf "storageClasses: %s: there are two classes of that name" .name) }}{{ end }}
{{- if and .authenticatedEncryption .allowVolumeExpansion }}{{ fail (printf "storageClasses: %s has authenticatedEncryption, with which volumes cannot grow: write allowVolumeExpansion: false, or leave it out" .name) }}{{ end }}
{{- $_ := set $classes .name true }}
{{- if and .isDefault $default }}{{ fail (printf "storageClasses: %s and %s: only one can be the default" $default .name) }}{{ end }}
{{- if .isDefault }}{{ $default = .name }}{{ end }}
{{- end }}
{{- range $kind := list "volumeSnapshotClasses" "volumeGroupSnapshotClasses" }}
{{- $classes = dict }}
{{- $default = "" }}
{{- range index $.Values $kind }}
{{- if hasKey $classes .name }}{{ fail (printf "%s: %s: there are two classes of that name" $kind .name) }}{{ end }}
{{- $_ := set $classes .name true }}
{{- if and .isDefault $default }}{{ fail (printf "%s: %s and %s: only one can be the default" $kind $default .name) }}{{ end }}
{{- if .isDefault }}{{ $default = .name }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The API server refuses a container with two mounts at one path. */}}
{{- define "aoe-csi.validatePaths" -}}
{{- $taken := list "/dev" "/run/aoe-csi" "/run/lock/lvm" "/run/lvm" "/run/udev" }}
{{- if has .Values.storage.statePath $taken }}{{ fail (printf "storage.statePath: the pods have something else at %s" .Values.storage.statePath) }}{{ end }}
{{- range .Values.storage.directories }}
{{- if eq . $.Values.storage.statePath }}{{ fail (printf "storage.directories: %s is storage.statePath, which the pods see in any case" .) }}{{ end }}
{{- if has . $taken }}{{ fail (printf "storage.directories: the pods have something else at %s" .) }}{{ end }}
{{- end }}
{{- if has .Values.kubeletPath (list "/csi" "/dev" "/etc/modprobe.d" "/lib/modules") }}{{ fail (printf "kubeletPath: the pods have something else at %s" .Values.kubeletPath) }}{{ end }}
{{- end }}

{{/* What keeps pods from being made, scheduled or started. */}}
{{- define "aoe-csi.validatePods" -}}
{{- $ports := dict }}
{{- $agent := .Values.storage.agent }}
{{- $used := list (list "node.httpPort" .Values.node.httpPort) (list "storage.agent.httpPort" $agent.httpPort) }}
{{- if .Values.controller.snapshotMetadata.enabled }}{{ $used = append $used (list "storage.agent.blocksPort" $agent.blocksPort) }}{{ end }}
{{- range $each := $used }}
{{- $port := last $each | int | toString }}
{{- with get $ports $port }}{{ fail (printf "%s and %s are both %s: they are ports on one network, that of the node" . (first $each) $port) }}{{ end }}
{{- $_ := set $ports $port (first $each) }}
{{- end }}
{{- range $part := list "controller" "node" "storage" }}
{{- range $key := list "name" "instance" "component" }}
{{- $label := printf "app.kubernetes.io/%s" $key }}
{{- if hasKey ((index $.Values $part).podLabels | default dict) $label }}{{ fail (printf "%s.podLabels: %s is a label by which the pods are found, and cannot be changed" $part $label) }}{{ end }}
{{- end }}
{{- end }}
{{- range $name := list "provisioner" "attacher" "resizer" "snapshotter" }}
{{- $sidecar := index $.Values.controller $name }}
{{- if not (or $sidecar.image.tag $sidecar.image.digest (eq (toString $sidecar.enabled) "false")) }}{{ fail (printf "controller.%s.image: needs a tag or a digest" $name) }}{{ end }}
{{- end }}
{{- end }}
