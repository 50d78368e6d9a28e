{{- define "kalepool.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "kalepool.selector" . }}
{{- end }}

{{- define "kalepool.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kalepool.poolImage" -}}
{{ .Values.images.pool }}:{{ .Values.images.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "kalepool.workerImage" -}}
{{ .Values.images.worker }}:{{ .Values.images.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "kalepool.raySecret" -}}
{{ .Values.secrets.ray | default (printf "%s-ray" .Release.Name) }}
{{- end }}

{{- define "kalepool.headAddress" -}}
{{ .Release.Name }}-ray-head-svc:6379
{{- end }}

{{- define "kalepool.databaseHost" -}}
{{- if .Values.database.cloudNativePG.enabled -}}
{{ .Release.Name }}-database-rw
{{- else -}}
{{ required "database.host: name a PostgreSQL, or set database.cloudNativePG.enabled" .Values.database.host }}
{{- end -}}
{{- end }}

{{- /* One login's address, as the variable .name. The password stays in its secret. */ -}}
{{- define "kalepool.databaseUrl" -}}
- name: {{ .name }}_USER
  valueFrom: { secretKeyRef: { name: {{ .secret }}, key: username } }
- name: {{ .name }}_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .secret }}, key: password } }
- name: {{ .name }}
  value: "postgresql://$({{ .name }}_USER):$({{ .name }}_PASSWORD)@{{ include "kalepool.databaseHost" .root }}:{{ .root.Values.database.port }}/{{ .root.Values.database.name }}"
{{- end }}

{{- define "kalepool.settings" -}}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "kalepool.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "kalepool.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}
