{{/* What values.schema.json cannot say. Fails with what is wrong and what to write instead. */}}
{{- define "aoe-csi.validate" -}}
{{- $bounds := splitList "-" .Values.addresses.shelves }}
{{- $low := int (first $bounds) }}
{{- $high := int (last $bounds) }}
{{- if or (gt $low $high) (gt $high 65534) (and (eq $low 4095) (eq $high 4095)) }}
{{- fail (printf "addresses.shelves: %q is not a range of usable shelves: write LOW-HIGH with 0 <= LOW <= HIGH <= 65534 (4095 alone cannot be used)" .Values.addresses.shelves) }}
{{- end }}
{{- $names := dict }}
{{- $roots := prepend .Values.storage.directories .Values.storage.statePath }}
{{- range .Values.pools }}
{{- $where := printf "pools: %s" .name }}
{{- if hasKey $names .name }}{{ fail (printf "%s: there are two pools of that name" $where) }}{{ end }}
{{- $_ := set $names .name true }}
{{- if and .wipe (ne .backend "lvm") }}{{ fail (printf "%s: wipe goes with backend lvm, this one has backend %s" $where .backend) }}{{ end }}
{{- if and .reserve (ne .backend "file") }}{{ fail (printf "%s: reserve goes with backend file, this one has backend %s" $where .backend) }}{{ end }}
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
{{- $_ := set $classes .name true }}
{{- if and .isDefault $default }}{{ fail (printf "storageClasses: %s and %s: only one can be the default" $default .name) }}{{ end }}
{{- if .isDefault }}{{ $default = .name }}{{ end }}
{{- end }}
{{- $classes = dict }}
{{- $default = "" }}
{{- range .Values.volumeSnapshotClasses }}
{{- if hasKey $classes .name }}{{ fail (printf "volumeSnapshotClasses: %s: there are two classes of that name" .name) }}{{ end }}
{{- $_ := set $classes .name true }}
{{- if and .isDefault $default }}{{ fail (printf "volumeSnapshotClasses: %s and %s: only one can be the default" $default .name) }}{{ end }}
{{- if .isDefault }}{{ $default = .name }}{{ end }}
{{- end }}
{{- end }}
