// What a dashboard file may hold: Grafana's published types, with each kind of panel's own options.
import type { AnnotationQuery, Dashboard, FieldConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { FieldConfig as TableField, Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { FieldConfig as TimeSeriesField, Options as TimeSeries } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** As it stands in JSON: the members of enums by their values. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Json<Item>[]
      : { [Key in keyof T]: Json<T[Key]> };

/** A panel of one kind; what the types of Grafana leave open is closed here. */
type Kind<Type extends string, Options, Custom> = Omit<
  Json<Panel>,
  'type' | 'options' | 'fieldConfig' | 'title' | 'description' | 'gridPos' | 'id'
> & {
  type: Type;
  id: number;
  title: string;
  description: string;
  gridPos: { h: number; w: number; x: number; y: number };
  options: Partial<Json<Options>>;
  fieldConfig: {
    defaults: Omit<Json<FieldConfig>, 'custom'> & { custom?: Partial<Json<Custom>> };
    overrides: [];
  };
};

type AnyPanel =
  | Json<RowPanel>
  | Kind<'timeseries', TimeSeries, TimeSeriesField>
  | Kind<'stat', Stat, never>
  | Kind<'bargauge', BarGauge, never>
  | Kind<'table', Table, TableField>;

/** What the plugin for Prometheus adds to an annotation and to a variable. */
type Annotation = Json<AnnotationQuery> & { expr?: string; titleFormat?: string; step?: string };
type Variable = Json<VariableModel> & { definition?: string };

/** A provisionable dashboard of this repository. */
export type Shape = Omit<
  Json<Dashboard>,
  'panels' | 'uid' | 'title' | 'annotations' | 'templating'
> & {
  uid: string;
  title: string;
  annotations: { list: Annotation[] };
  templating: { list: Variable[] };
  panels: AnyPanel[];
};
